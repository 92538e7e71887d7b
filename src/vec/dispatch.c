/* Which kernels run: asked of the processor once, and kept in one table.
 *
 * Instruction sets are told by what the processor says it can do and by whether
 * the system saves the registers they use, never by its brand. "auto" takes
 * AVX-512 only with VNNI, without which it was too often slower than AVX2.
 *
 * BF16 serves for making rows only. Scoring keeps the query in float32, of
 * which VDPBF16PS would need three parts: on Zen 4 that took as long as
 * widening rows and FMA (29.7 against 28.9 ns for a row of 768 in the cache),
 * and it takes denormals for zeros. */
#include "vec/vec.h"

#include "vec/vec_impl.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

static struct vec_kernels chosen;
static char chosen_name[32] = "scalar";

const struct vec_kernels *vec_in_use = &vec_scalar;

const char *vec_simd_name(void)
{
    return chosen_name;
}

/* What this machine can run. */
struct machine {
    bool avx2;
    bool avx512;
    bool vnni;
    bool vpopcntdq;
    bool bf16;
    bool neon;
};

#if defined(__x86_64__)

static bool bit(uint32_t word, int n)
{
    return (word >> n) & 1;
}

/* Which registers the system saves: 2 and 4 for vectors up to 256 bits, 0xe0
 * more for 512 bits and masks. */
static uint32_t saved_registers(void)
{
    uint32_t low;
    uint32_t high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void detect(struct machine *m)
{
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint32_t d;
    uint32_t saved;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27)) { /* OSXSAVE */
        return;
    }
    saved = saved_registers();
    if (!bit(c, 12) || !bit(c, 23) || !bit(c, 28) || !bit(c, 29) ||
        (saved & 0x6) != 0x6) { /* FMA, POPCNT, AVX, F16C */
        return;
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        return;
    }
    m->avx2 = bit(b, 5) && bit(b, 8); /* and BMI2 */
    m->avx512 = m->avx2 && (saved & 0xe6) == 0xe6 && bit(b, 16) && bit(b, 17) &&
                bit(b, 30) && bit(b, 31); /* F, DQ, BW, VL */
    m->vnni = m->avx512 && bit(c, 11);
    m->vpopcntdq = m->avx512 && bit(c, 14);
    if (m->avx512 && a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        m->bf16 = bit(a, 5);
    }
}

static void fill_avx2(struct vec_kernels *k)
{
    vec_avx2_float_fill(k);
    vec_avx2_i8_fill(k);
    vec_avx2_i8_side_fill(k);
    vec_avx2_bit_fill(k);
    vec_avx2_code_fill(k);
    vec_avx2_fine_fill(k);
    vec_avx2_pq_fill(k);
    vec_avx2_near_fill(k);
}

static void fill_avx512(struct vec_kernels *k, const struct machine *m)
{
    fill_avx2(k);
    vec_avx512_float_fill(k);
    vec_avx512_code_fill(k);
    vec_avx512_fine_fill(k);
    vec_avx512_pq_fill(k);
    if (m->vnni) {
        vec_avx512_i8_fill(k);
        vec_avx512_i8_within_fill(k);
        vec_avx512_near_fill(k);
    }
    if (m->vpopcntdq) {
        vec_avx512_bit_fill(k);
    }
    if (m->bf16) {
        vec_avx512_bf16_fill(k);
    }
}

static void fill_neon(struct vec_kernels *k)
{
    (void)k;
}

#else

static void detect(struct machine *m)
{
#if defined(__aarch64__)
    unsigned long has = getauxval(AT_HWCAP);

    m->neon = (has & HWCAP_ASIMDDP) && (has & HWCAP_ASIMDHP);
#else
    (void)m;
#endif
}

static void fill_avx2(struct vec_kernels *k)
{
    (void)k;
}

static void fill_avx512(struct vec_kernels *k, const struct machine *m)
{
    (void)k;
    (void)m;
}

static void fill_neon(struct vec_kernels *k)
{
#if defined(__aarch64__)
    vec_neon_fill(k);
    vec_neon_pq_fill(k);
#else
    (void)k;
#endif
}

#endif

static const char *best_level(const struct machine *m)
{
    if (m->vnni) {
        return "avx512";
    }
    if (m->avx2) {
        return "avx2";
    }
    return m->neon ? "neon" : "scalar";
}

/* AVX-512 as it first was, for tests: newer processors show that, too. */
static const struct machine first_avx512 = {.avx2 = true, .avx512 = true};

/* Fills in what `level` adds to the scalar kernels. */
static enum err fill(struct vec_kernels *k, const char *level,
                     const struct machine *m)
{
    if (strcmp(level, "scalar") == 0) {
        return ERR_OK;
    }
    if (strcmp(level, "avx2") == 0) {
        fill_avx2(k);
        return m->avx2 ? ERR_OK : ERR_UNSUPPORTED;
    }
    if (strcmp(level, "avx512") == 0) {
        fill_avx512(k, m);
        return m->avx512 ? ERR_OK : ERR_UNSUPPORTED;
    }
    if (strcmp(level, "avx512f") == 0) {
        fill_avx512(k, &first_avx512);
        return m->avx512 ? ERR_OK : ERR_UNSUPPORTED;
    }
    if (strcmp(level, "neon") == 0) {
        fill_neon(k);
        return m->neon ? ERR_OK : ERR_UNSUPPORTED;
    }
    return ERR_SYNTAX;
}

enum err vec_simd_select(const char *level)
{
    struct vec_kernels k = vec_scalar;
    struct machine m = {0};
    enum err err;

    detect(&m);
    if (strcmp(level, "auto") == 0) {
        level = best_level(&m);
    }
    err = fill(&k, level, &m);
    if (err) {
        return err;
    }
    chosen = k;
    vec_in_use = &chosen;
    strcpy(chosen_name, level);
    if (strcmp(level, "avx512") == 0) {
        strcat(chosen_name, m.vnni ? " vnni" : "");
        strcat(chosen_name, m.vpopcntdq ? " vpopcntdq" : "");
        strcat(chosen_name, m.bf16 ? " bf16" : "");
    }
    return ERR_OK;
}
