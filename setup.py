"""Builds ms_moe_comm: YAML -> primitives, AscendC kernels + host twin + host code -> one shared library.

Where ASCEND_HOME_PATH names a CANN (its set_env.sh does), a second library serves Ascend, loaded when something runs
there, and CANN's own rules (op_impl/CMakeLists.txt) build the kernels into one binary for each chip family beside it.

Everything is compiled here, once. At import, or per rank, nothing is compiled or generated.
"""

import atexit
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
OPS = ROOT / "op_impl"
YAML_FOLDER = ROOT / "ops_yaml"
PYTHON_VERSIONS = ((3, 10), (3, 11))  # MindSpore 2.10 has wheels for these
CXX = os.environ.get("CXX", "g++")

CANN = os.environ.get("ASCEND_HOME_PATH")
# A chip of each family that the kernels serve. CANN builds for a named chip. If it accepts only the chip of this
# machine: MOE_COMM_SOC_VERSIONS=910b=ascend910b3,910_93=ascend910_9382
SOC_VERSIONS = os.environ.get("MOE_COMM_SOC_VERSIONS", "910b=ascend910b1,910_93=ascend910_9391")

# One rounding per operation (the kernels' results are specified to the bit), and MindSpore's own ABI.
COMMON_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wall",
                "-D_GLIBCXX_USE_CXX11_ABI=0", f"-ffile-prefix-map={ROOT}/="]
MINDSPORE_LIBRARIES = ["mindspore_core", "mindspore_ms_backend", "mindspore_frontend", "mindspore_pynative",
                       "mindspore_pyboost", "mindspore_hardware_abstract", "mindspore_runtime_pipeline",
                       "mindspore_common"]


def check_environment():
    """Ends with one line that says what to do, if the package cannot be built or would not run here."""
    if not PYTHON_VERSIONS[0] <= sys.version_info[:2] <= PYTHON_VERSIONS[1]:
        sys.exit("ms_moe_comm: MindSpore 2.10 needs Python 3.10 or 3.11, this is {}.{}; make a virtual environment "
                 "with one of those.".format(*sys.version_info[:2]))
    if shutil.which(CXX) is None:
        sys.exit(f"ms_moe_comm: no C++ compiler '{CXX}'; install one (Debian: apt-get install g++) or set CXX.")
    if CANN and not Path(CANN, "include", "acl", "acl.h").is_file():
        sys.exit(f"ms_moe_comm: ASCEND_HOME_PATH is {CANN}, where there is no include/acl/acl.h; source the set_env.sh "
                 "of CANN's toolkit, or unset it to build for the CPU alone.")
    if CANN and shutil.which("cmake") is None:
        sys.exit("ms_moe_comm: CANN builds kernels with cmake, which is missing; install it (pip install cmake).")
    requirements = runpy.run_path(ROOT / "ms_moe_comm" / "requirements.py")
    try:
        requirements["check_packages"]()
    except ImportError as error:
        sys.exit(f"ms_moe_comm: {error}")
    import mindspore

    return Path(mindspore.__file__).resolve().parent


def generate_primitives(mindspore_path, folder):
    """Runs MindSpore's own generator on the definitions and their documentation."""
    definitions, documents = folder / "yaml", folder / "doc"
    for target, source in ((definitions, YAML_FOLDER), (documents, YAML_FOLDER / "doc")):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in sorted(source.glob("*.yaml")):
            shutil.copy(path, target)
    generator = mindspore_path / "ops_generate" / "gen_custom_ops.py"
    result = subprocess.run([sys.executable, generator, "-i", definitions, "-d", documents, "-o", folder,
                             "-m", "ms_moe_comm._lib"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"ms_moe_comm: MindSpore's operator generator failed on {YAML_FOLDER}:\n{result.stderr}")


def mindspore_flags(mindspore_path, module="_lib"):
    """The compiler flags for the files of mindspore_sources, as parts of the Python module `module`."""
    include = mindspore_path / "include"
    inner = include / "mindspore"
    folders = [mindspore_path, include, include / "third_party", include / "third_party" / "robin_hood_hashing",
               include / "third_party" / "securec" / "include", inner / "include", inner / "core" / "include",
               inner / "core" / "mindrt" / "include", inner / "core" / "mindrt", inner / "ops",
               inner / "ops" / "include", inner / "ops" / "kernel" / "include", inner / "ccsrc",
               inner / "ccsrc" / "include", inner / "ccsrc" / "minddata" / "mindrecord" / "include",
               Path(sysconfig.get_paths()["include"])]
    return [*(f"-isystem{path}" for path in folders), f"-DMS_EXTENSION_NAME={module}", "-DENABLE_FAST_HASH_TABLE=1"]


def mindspore_sources():
    """The files that need MindSpore's headers: those of _lib, and those of _ascend, which need CANN's headers, too."""
    return sorted((OPS / "mindspore").glob("*.cc")), sorted((OPS / "ascend").glob("*.cc"))


def cann_flags():
    """The additional compiler flags for the files of _ascend."""
    include = Path(CANN, "include")
    return ["-DCUSTOM_ASCEND_OP", f"-isystem{include}", f"-isystem{include / 'experiment'}"]


def ascend_libraries(lib):
    """What MindSpore's CustomOpBuilder links for Ascend, in its order.

    MindSpore's back end brings symbols that other libraries need. So does libascendcl, with the libraries behind it.
    """
    return [f"-L{lib / 'plugin' / 'ascend'}", f"-L{Path(CANN, 'lib64')}", "-Wl,--no-as-needed",
            "-l:libmindspore_ascend.so.2", "-lascendcl", "-Wl,--as-needed", "-lmindspore_extension_ascend_aclnn",
            "-lmindspore_ops_ascend", "-lmindspore_ascend_res_manager"]


class BuildLibrary(build_ext):
    """Compiles kernels and host code. The few files that need MindSpore's headers are built at the same time."""

    def get_source_files(self):
        """What a source distribution has besides the Python packages: sources, and all documents."""
        documents = [path for folder in ("ms_moe_comm", "samples", "tests") for path in ROOT.glob(f"{folder}/**/*.md")]
        return [os.path.relpath(path, ROOT) for folder in (OPS, YAML_FOLDER) for path in sorted(folder.glob("**/*"))
                if path.is_file()] + [os.path.relpath(path, ROOT) for path in sorted(documents)]

    def build_extension(self, ext):
        mindspore_path = check_environment()
        build = Path(self.build_temp).resolve()
        generated = build / "generated"
        generated.mkdir(parents=True, exist_ok=True)
        self.call([sys.executable, YAML_FOLDER / "generate.py", generated])
        generate_primitives(mindspore_path, generated)

        own = [f"-I{OPS}", f"-I{generated}"]
        always, ascend = mindspore_sources()
        jobs = [(path, [*own, *mindspore_flags(mindspore_path), "-O1"])
                for path in (*always, generated / "gen_custom_ops_def.cc")]
        twin = [f"-I{OPS / 'host_twin'}", f"-I{OPS / 'host_twin' / 'fast'}"]
        jobs += [(path, twin + own) for path in sorted((generated / "kernels").glob("*.cpp"))]
        host = [path for folder in ("host", "checks", "operators/*/op_host")
                for path in sorted(OPS.glob(f"{folder}/*.cc"))]
        jobs += [(path, own) for path in host]
        of_ascend = []
        if CANN:
            flags = [*own, *mindspore_flags(mindspore_path, "_ascend"), *cann_flags(), "-O1"]
            of_ascend = [(path, flags) for path in ascend]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda job: self.compile(build, *job), jobs + of_ascend))
        objects, ascend_objects = objects[:len(jobs)], objects[len(jobs):]

        library = Path(self.get_ext_fullpath(ext.name)).resolve()
        library.parent.mkdir(parents=True, exist_ok=True)
        lib = mindspore_path / "lib"
        self.link(library, objects, lib, ["-lmindspore_ops_cpu"])
        if CANN:
            # _lib has this file, too, but the two libraries share no symbols
            ascend_objects += [path for path in objects if path.name == "op_impl-host-operator.o"]
            self.link(Path(self.get_ext_fullpath("ms_moe_comm._ascend")).resolve(), ascend_objects, lib,
                      ascend_libraries(lib))
            for family, soc_version in (pair.split("=") for pair in SOC_VERSIONS.split(",")):
                self.build_kernels(build / f"kernels_{family}", soc_version,
                                   library.parent / f"moe_comm_kernels_{family}.o")
        primitives = library.parent / "_generated"
        primitives.mkdir(exist_ok=True)
        (primitives / "__init__.py").write_text('"""Generated from ops_yaml by MindSpore."""\n', encoding="utf-8")
        for name in ("gen_ops_def.py", "gen_ops_def.pyi", "gen_ops_prim.py"):
            shutil.copy(generated / name, primitives)

    def build_kernels(self, build, soc_version, binary):
        """Builds the kernels by CANN's rules, for one chip."""
        self.call(["cmake", "-S", OPS, "-B", build, "-G", "Unix Makefiles", "-DCMAKE_BUILD_TYPE=Release",
                   f"-DASCEND_CANN_PACKAGE_PATH={CANN}", f"-DSOC_VERSION={soc_version}",
                   f"-DASCEND_PYTHON_EXECUTABLE={sys.executable}", f"-DCMAKE_INSTALL_PREFIX={build / 'out'}"])
        self.call(["cmake", "--build", build, "-j", str(os.cpu_count())])
        shutil.copy(build / "out" / "fatbin" / "moe_comm_kernels" / "moe_comm_kernels.o", binary)

    def copy_extensions_to_source(self):
        super().copy_extensions_to_source()
        for pattern in ("_ascend.*.so", "moe_comm_kernels_*.o"):
            for old in (ROOT / "ms_moe_comm").glob(pattern):  # left by a build with a CANN that is gone
                old.unlink()
            for new in (Path(self.build_lib) / "ms_moe_comm").glob(pattern) if CANN else ():
                shutil.copy(new, ROOT / "ms_moe_comm")
        shutil.copytree(Path(self.build_lib) / "ms_moe_comm" / "_generated", ROOT / "ms_moe_comm" / "_generated",
                        dirs_exist_ok=True)

    def compile(self, build, source, flags):
        target = build / ("-".join(source.with_suffix(".o").parts[-3:]))
        self.call([CXX, *COMMON_FLAGS, *flags, "-c", source, "-o", target])
        return target

    def link(self, library, objects, lib, more):
        self.call([CXX, "-shared", "-s", *objects, "-o", library, f"-L{lib}", f"-L{lib / 'plugin'}",
                   "-Wl,-z,relro,-z,now,-z,noexecstack", *more, *(f"-l{name}" for name in MINDSPORE_LIBRARIES)])

    @staticmethod
    def call(command):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            sys.exit(f"ms_moe_comm: this command failed:\n{' '.join(map(str, command))}\n{result.stderr}")


def folders_outside():
    """Options that keep the build's files out of a tree that is read-only."""
    if os.access(ROOT, os.W_OK):
        return {}
    folder = tempfile.mkdtemp(prefix="ms_moe_comm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {"egg_info": {"egg_base": folder}, "build": {"build_base": folder}}


setup(  # build_ext also writes the package `_generated`
    options=folders_outside(),
    packages=["ms_moe_comm", "ms_moe_comm.cli", "ms_moe_comm.providers", "ms_moe_comm.reference"],
    package_data={"ms_moe_comm": ["py.typed", "*.pyi"]},
    ext_modules=[Extension("ms_moe_comm._lib", sources=[])],
    cmdclass={"build_ext": BuildLibrary},
)
