# Stands in for CANN's rules: the kernels are compiled against the host twin.
set(CMAKE_CXX_STANDARD 17)
set(stand_in_folder ${CMAKE_CURRENT_LIST_DIR})

# The kernels of `sources` with one entry each, in a shared object `target`.
function(stand_in_kernels target)
  set(entries ${CMAKE_CURRENT_BINARY_DIR}/${target}_entries.cc)
  execute_process(COMMAND ${ASCEND_PYTHON_EXECUTABLE} ${stand_in_folder}/write_entries.py ${entries} ${ARGN}
                  COMMAND_ERROR_IS_FATAL ANY)
  add_library(${target} SHARED ${ARGN} ${entries})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/host_twin
                             ${CMAKE_CURRENT_SOURCE_DIR}/host_twin/fast ${CMAKE_CURRENT_SOURCE_DIR}
                             ${stand_in_folder})
  target_compile_options(${target} PRIVATE -O2 -ffp-contract=off -fvisibility=hidden)
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PRIVATE Threads::Threads -L${ASCEND_CANN_PACKAGE_PATH}/lib64 ascendcl)
  target_link_options(${target} PRIVATE -Wl,--allow-shlib-undefined)
endfunction()

function(ascendc_library target kind)
  stand_in_kernels(${target} ${ARGN})
  set_target_properties(${target} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
endfunction()

function(ascendc_fatbin_library target)
  stand_in_kernels(${target} ${ARGN})
  set_target_properties(${target} PROPERTIES PREFIX "" SUFFIX ".o"
                        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_INSTALL_PREFIX}/fatbin/${target})
endfunction()

function(ascendc_include_directories target scope)
  target_include_directories(${target} ${scope} ${ARGN})
endfunction()
function(ascendc_compile_definitions target scope)
  target_compile_options(${target} ${scope} ${ARGN})
endfunction()
function(ascendc_compile_options)  # they are of CANN's compiler
endfunction()
