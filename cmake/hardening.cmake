# Flags of every target (hardening, sanitizers, linker) and, as linchpin_flags, the warnings that
# our own code must not have. Generated code gets the first and not the second.
include(CheckCXXCompilerFlag)
include(CheckPIESupported)

check_pie_supported(LANGUAGES CXX)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# Debug is for a person at work: no optimisation compiles fastest, -g1 keeps lines for backtraces
# and small files. Release carries no debug information: it is three quarters of what is linked.
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
# What nobody calls is left out when programs are linked: they stay resident on every node.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -ffunction-sections -fdata-sections")

add_compile_options(-fstack-protector-strong -fstack-clash-protection -fno-omit-frame-pointer)
add_compile_definitions(_GLIBCXX_ASSERTIONS)
check_cxx_compiler_flag(-fcf-protection=full LINCHPIN_HAS_CF_PROTECTION)
if(LINCHPIN_HAS_CF_PROTECTION)
  add_compile_options(-fcf-protection=full)
endif()
add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections)

if(LINCHPIN_SANITIZE)
  if(LINCHPIN_FUZZ)
    add_compile_options(-O1)  # without it a fuzzer gets half as far
  endif()
  add_compile_options(-fsanitize=${LINCHPIN_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LINCHPIN_SANITIZE})
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  # Needs optimisation, and hides bugs from the sanitizers.
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()

add_library(linchpin_flags INTERFACE)
target_compile_options(linchpin_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  # Debian 13's guesses wrong through std::optional and absl::Cleanup; Debian 12's reads the same.
  target_compile_options(linchpin_flags INTERFACE -Wno-maybe-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(linchpin_flags INTERFACE -Wno-unused-command-line-argument)
endif()

find_program(LINCHPIN_MOLD mold)
if(LINCHPIN_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
find_program(LINCHPIN_CCACHE_PROGRAM ccache)
if(LINCHPIN_CCACHE_PROGRAM AND LINCHPIN_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LINCHPIN_CCACHE_PROGRAM})
endif()
