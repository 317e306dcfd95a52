# How a room, a program, a test and a fuzzer are declared. Sources are listed by name: a test checks
# that no file is left out.

# linchpin_room(NAME SOURCES a.cc … LIBS x y …): one static library a room or sub-room, also known
# as linchpin::NAME. Without sources: headers only.
function(linchpin_room name)
  cmake_parse_arguments(R "" "" "SOURCES;LIBS" ${ARGN})
  if(R_SOURCES)
    add_library(${name} STATIC ${R_SOURCES})
    target_link_libraries(${name} PUBLIC ${R_LIBS} PRIVATE linchpin_flags)
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${R_LIBS})
  endif()
  add_library(linchpin::${name} ALIAS ${name})
endfunction()

# `programs` is what the demonstration needs: everything in bin/ that is not a test.
add_custom_target(programs)

# linchpin_program(NAME SOURCES … LIBS …): an executable in bin/.
function(linchpin_program name)
  cmake_parse_arguments(R "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${R_SOURCES})
  target_link_libraries(${name} PRIVATE ${R_LIBS} linchpin_flags)
  set(tests ${CMAKE_SOURCE_DIR}/tests)
  cmake_path(IS_PREFIX tests ${CMAKE_CURRENT_SOURCE_DIR} is_test)
  if(NOT is_test)
    add_dependencies(programs ${name})
  endif()
endfunction()

# linchpin_test(NAME SOURCES … LIBS … [SHARDS N]): one GoogleTest binary a room; ctest runs it
# whole, or in N parts that share the cores, each under a name (and so with a report) of its own.
function(linchpin_test name)
  cmake_parse_arguments(T "" "SHARDS" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${T_LIBS} GTest::gmock GTest::gtest GTest::gtest_main
                                        linchpin_flags)
  target_compile_definitions(${name} PRIVATE LINCHPIN_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             LINCHPIN_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  if(NOT T_SHARDS)
    add_test(NAME ${name} COMMAND ${name})
    return()
  endif()
  math(EXPR last "${T_SHARDS} - 1")
  foreach(index RANGE ${last})
    set(shard ${CMAKE_BINARY_DIR}/tests/${name}_${index})
    add_custom_command(TARGET ${name} POST_BUILD
      COMMAND ${CMAKE_COMMAND} -E create_symlink ${name} ${shard})
    add_test(NAME ${name}_${index} COMMAND ${shard})
    # Long ones first, so that none runs alone at the end.
    set_tests_properties(${name}_${index} PROPERTIES COST 100
      ENVIRONMENT "GTEST_TOTAL_SHARDS=${T_SHARDS};GTEST_SHARD_INDEX=${index}")
  endforeach()
endfunction()

# linchpin_fuzzer(NAME SOURCES … LIBS …): a libFuzzer program in fuzz/, built by the fuzz preset
# only. Its seeds are tests/fuzz/corpus/NAME.
function(linchpin_fuzzer name)
  if(NOT LINCHPIN_FUZZ)
    return()
  endif()
  cmake_parse_arguments(F "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(fuzz_${name} ${F_SOURCES})
  set_target_properties(fuzz_${name} PROPERTIES OUTPUT_NAME ${name}
                        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_link_libraries(fuzz_${name} PRIVATE ${F_LIBS} linchpin_flags)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
endfunction()
