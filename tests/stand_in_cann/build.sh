#!/usr/bin/env bash
# Builds the stand-in: build.sh MINDSPORE TARGET
#   MINDSPORE   the folder of the installed package mindspore
#   TARGET      the folder for ASCEND_HOME_PATH; for MindSpore its path must end in /cann
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mindspore=$1 target=$2
[[ $target == */cann ]] || { echo "stand_in_cann: the path of the target must end in /cann" >&2; exit 2; }
objects=$target.objects lib=$target/lib64
rm -rf "$target" "$objects"
mkdir -p "$lib" "$objects"

flags=(-std=c++17 -O1 -g -fPIC -Wall -Werror -D_GLIBCXX_USE_CXX11_ABI=0 -I"$here" -I"$here/include"
       -I"$here/../../op_impl")
pids=()
for source in "$here"/*.cc "$here"/preload/*.cc; do
    ${CXX:-g++} "${flags[@]}" -c "$source" -o "$objects/$(basename "$source" .cc).o" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
mkdir "$objects/preload"
mv "$objects"/{shmem,servers}.o "$objects/preload"

# One library has all functions; libraries of CANN's names only link to it. MindSpore looks for CANN behind the last
# "cann" in the path of a loaded libascendcl, so this library's name must not contain it.
link=(${CXX:-g++} -shared -Wl,-soname,libstand_in.so "$objects"/*.o -lpthread -ldl)
"${link[@]}" -o "$objects/own.so"
"${PYTHON:-python3}" "$here/symbols.py" "$mindspore" "$objects/own.so" "$objects/stubs.s"
${CXX:-g++} -c "$objects/stubs.s" -o "$objects/stubs.o"
"${link[@]}" "$objects/stubs.o" -Wl,-z,defs -o "$lib/libstand_in.so"
for name in acl_op_compiler acl_rt acl_tdt_channel ascend_hal ascendcl c_sec error_manager ge_runner graph hccl \
            msprofiler nnopbase opapi platform profapi runtime; do
    echo | ${CC:-gcc} -shared -x c - -o "$lib/lib$name.so" -Wl,-soname,"lib$name.so" -Wl,--no-as-needed \
        -L"$lib" -lstand_in -Wl,-rpath,'$ORIGIN'
done
mkdir -p "$target/preload" "$target/tools/tikcpp" "$target/driver/lib64"
echo "Innerversion=V100R001C22SPC003B220" >"$target/driver/version.info" # symmetric memory asks for it
for name in shmem servers; do
    ${CXX:-g++} -shared "$objects/preload/$name.o" -o "$target/preload/lib$name.so" -Wl,-soname,"lib$name.so" -L"$lib" \
        -lstand_in -ldl -Wl,-rpath,'$ORIGIN/../lib64'
done

cp -r "$here/include" "$target/include"
cp -r "$here/kernels" "$target/tools/tikcpp/ascendc_kernel_cmake"
cp -r "$here/python" "$target/python"
