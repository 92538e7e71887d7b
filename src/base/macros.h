/* Compiler vocabulary shared by every folder: attributes, branch hints,
 * assertions. Nothing here has a runtime of its own except ASSERT. */
#ifndef VECTRA_BASE_MACROS_H
#define VECTRA_BASE_MACROS_H

#include <stddef.h>
#include <stdint.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN          __attribute__((noreturn))
#define ALWAYS_INLINE     static inline __attribute__((always_inline))
#define NO_INLINE         __attribute__((noinline))
#define FALLTHROUGH       __attribute__((fallthrough))

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define CACHE_LINE 64

__extension__ typedef unsigned __int128 uint128;

/* The struct that embeds `member` at `ptr`. */
#define CONTAINER_OF(ptr, type, member)                                        \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Reports and aborts. Used by ASSERT; call it through ASSERT. */
void assert_failed(const char *expr, const char *file, int line) NORETURN;

/* On in every build: what a correct program guarantees. Never used for
 * something a client, a file or a peer sent. */
#define ASSERT(x)                                                              \
    do {                                                                       \
        if (UNLIKELY(!(x))) {                                                  \
            assert_failed(#x, __FILE__, __LINE__);                             \
        }                                                                      \
    } while (0)

/* Whether checksums agree. No mutation would get past them, so the build for
 * fuzzing believes them all. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define SUMS_AGREE(a, b) ((void)(a), (void)(b), 1)
#else
#define SUMS_AGREE(a, b) ((a) == (b))
#endif

/* For checks that cost: on in debug and sanitizer builds. */
#ifdef VECTRA_DEBUG
#define DASSERT(x) ASSERT(x)
#else
#define DASSERT(x) ((void)sizeof(x))
#endif

#endif
