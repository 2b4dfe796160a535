/* emu_warp.cc - Barriers and collectives. A lane leaves its operands and waits;
 * the last one to come computes what all get. Lanes that have returned are not
 * waited for, but tensor cores and ldmatrix need all 32. */
#include "kernels/cuda/emu/emu_priv.h"

#include <stdio.h>

static const char *const op_names[] = {
    "running", "returned",  "pdl_wait", "__syncthreads",         "__syncwarp",
    "a vote",  "a shuffle", "ldmatrix", "ldmatrix (transposed)", "mma_bf16",
    "mma_f16",
};

static void make_ready(unsigned warp, uint32_t lanes)
{
    if (lanes == 0)
        return;
    emu_b.warp[warp].ready |= lanes;
    emu_b.ready |= 1u << warp;
}

/* --- the barrier of the block --------------------------------------------- */

static void barrier_open(void)
{
    uint32_t all = emu_b.bar_op == EMU_BAR_OR ? emu_b.n_true != 0
                   : emu_b.bar_op == EMU_BAR_AND
                       ? emu_b.n_true == emu_b.n_barrier
                       : emu_b.n_true;

    for (unsigned i = 0; i < emu_b.n_thread; i++) {
        struct emu_thread *t = &emu_b.thread[i];

        if (t->op != EMU_SYNCTHREADS)
            continue;
        t->op = EMU_RUNS;
        t->out[0] = all;
        make_ready(i / 32, 1u << i % 32);
    }
    emu_b.n_barrier = 0;
    emu_b.n_true = 0;
}

void emu_syncthreads(int op, uint32_t *value)
{
    struct emu_thread *t = emu_b.cur;

    if (emu_b.n_barrier != 0 && emu_b.bar_op != op)
        emu_fail("threads wait at different kinds of __syncthreads");
    emu_b.bar_op = op;
    t->op = EMU_SYNCTHREADS;
    emu_b.n_barrier++;
    emu_b.n_true += *value;
    if (emu_b.n_barrier == emu_b.n_live)
        barrier_open();
    emu_next(true);
    *value = t->out[0];
}

/* --- what all lanes get --------------------------------------------------- */

static void do_ballot(struct emu_thread *lane, uint32_t here)
{
    uint32_t r = 0;

    for (unsigned i = 0; i < 32; i++)
        if ((here >> i & 1) != 0)
            r |= lane[i].in[0] << i;
    for (unsigned i = 0; i < 32; i++)
        if ((here >> i & 1) != 0)
            lane[i].out[0] = r;
}

/* A value of a lane that does not take part is undefined: 0xff. */
static void do_shfl(struct emu_thread *lane, uint32_t here)
{
    for (unsigned i = 0; i < 32; i++) {
        uint32_t src = lane[i].in[2];
        bool ok = src < 32 && (here >> src & 1) != 0;

        if ((here >> i & 1) == 0)
            continue;
        lane[i].out[0] = ok ? lane[src].in[0] : 0xffffffffu;
        lane[i].out[1] = ok ? lane[src].in[1] : 0xffffffffu;
    }
}

static void do_ldmatrix(struct emu_thread *lane, bool trans)
{
    for (unsigned m = 0; m < 4; m++) {
        uint16_t e[8][8];

        for (unsigned r = 0; r < 8; r++) {
            const char *p = emu_smem(lane[8 * m + r].in[0]);

            if (((uintptr_t)p & 15) != 0)
                emu_misaligned("ldmatrix", p);
            memcpy(e[r], p, sizeof e[r]);
        }
        for (unsigned i = 0; i < 32; i++) {
            unsigned g = i / 4, c = 2 * (i % 4);

            lane[i].out[m] = trans ? (uint32_t)e[c + 1][g] << 16 | e[c][g]
                                   : (uint32_t)e[g][c + 1] << 16 | e[g][c];
        }
    }
}

/* Four numbers at once. */
typedef float v4f __attribute__((vector_size(16)));
typedef uint32_t v4u __attribute__((vector_size(16)));

/* The values of <n> halves or bfloats, a multiple of 4, each in a word. */
static void values(const uint32_t *v, float *out, unsigned n, bool bf16)
{
    for (unsigned i = 0; i < n; i += 4) {
        v4u u, mag;

        memcpy(&u, v + i, sizeof u);
        if (bf16) {
            u <<= 16;
        } else {
            mag = (u & 0x7fff) << 13;
            u = (u & 0x8000) << 16 | ((v4u)(mag > 0x0f7fffffu) & 0x7f800000u);
            u |= (v4u)((v4f)mag * 0x1p112f);
        }
        memcpy(out + i, &u, sizeof u);
    }
}

static void two(uint32_t out[2], uint32_t v)
{
    out[0] = v & 0xffff;
    out[1] = v >> 16;
}

static void do_mma(struct emu_thread *lane, bool bf16)
{
    uint32_t ai[16][16], bi[16][8], e[2];
    float a[16][16];
    v4f b[16][2], c[16][2];

    for (unsigned i = 0; i < 32; i++) {
        const struct emu_thread *t = &lane[i];
        unsigned g = i / 4, k = 2 * (i % 4);

        two(&ai[g][k], t->in[0]);
        two(&ai[g + 8][k], t->in[1]);
        two(&ai[g][k + 8], t->in[2]);
        two(&ai[g + 8][k + 8], t->in[3]);
        for (unsigned j = 0; j < 2; j++) {
            two(e, t->in[4 + j]);
            bi[k + 8 * j][g] = e[0];
            bi[k + 8 * j + 1][g] = e[1];
        }
        memcpy((float *)&c[g] + k, &t->in[6], 8);
        memcpy((float *)&c[g + 8] + k, &t->in[8], 8);
    }
    values(ai[0], a[0], 256, bf16);
    values(bi[0], (float *)b, 128, bf16);
    for (unsigned r = 0; r < 16; r++) {
        v4f lo = c[r][0], hi = c[r][1];

        for (unsigned k = 0; k < 16; k++) {
            lo += a[r][k] * b[k][0];
            hi += a[r][k] * b[k][1];
        }
        c[r][0] = lo;
        c[r][1] = hi;
    }
    for (unsigned i = 0; i < 32; i++) {
        unsigned g = i / 4, k = 2 * (i % 4);

        memcpy(&lane[i].out[0], (float *)&c[g] + k, 8);
        memcpy(&lane[i].out[2], (float *)&c[g + 8] + k, 8);
    }
}

/* --- meeting -------------------------------------------------------------- */

/* All who are waited for have come to <m> of warp <wi>. */
static void meet_done(unsigned wi, struct emu_meet m)
{
    struct emu_thread *lane = &emu_b.thread[32 * wi];
    bool whole = m.here == 0xffffffffu;

    if (m.op >= EMU_LDMATRIX && !whole)
        emu_fail("%s by lanes 0x%08x alone, the others have returned",
                 op_names[m.op], m.here);
    switch (m.op) {
    case EMU_BALLOT:
        do_ballot(lane, m.here);
        break;
    case EMU_SHFL:
        do_shfl(lane, m.here);
        break;
    case EMU_LDMATRIX:
        do_ldmatrix(lane, false);
        break;
    case EMU_LDMATRIX_TRANS:
        do_ldmatrix(lane, true);
        break;
    case EMU_MMA_BF16:
        do_mma(lane, true);
        break;
    case EMU_MMA_F16:
        do_mma(lane, false);
        break;
    default:
        break;
    }
    for (unsigned i = 0; i < 32; i++)
        if ((m.here >> i & 1) != 0)
            lane[i].op = EMU_RUNS;
    make_ready(wi, m.here);
}

/* Wait for the other lanes of <mask>; the operands are in place. */
static void meet(enum emu_op op, uint32_t mask)
{
    unsigned wi = emu_b.cur_warp, lane = (unsigned)emu_lane_now, i;
    struct emu_warp *w = &emu_b.warp[wi];
    bool done;

    if ((mask >> lane & 1) == 0)
        emu_fail("%s of lanes 0x%08x, called by lane %u", op_names[op], mask,
                 lane);
    for (i = 0; i < w->n_meet && w->meet[i].mask != mask; i++)
        ;
    if (i == w->n_meet)
        w->meet[w->n_meet++] = emu_meet{op, mask, 0};
    if (w->meet[i].op != op)
        emu_fail("%s, while other lanes wait at %s", op_names[op],
                 op_names[w->meet[i].op]);
    w->meet[i].here |= 1u << lane;
    emu_b.cur->op = op;
    done = w->meet[i].here == (mask & w->live);
    if (done) {
        struct emu_meet m = w->meet[i];

        w->meet[i] = w->meet[--w->n_meet];
        w->first = emu_draw(32);
        meet_done(wi, m);
    }
    emu_next(done);
}

void emu_left(void)
{
    unsigned wi = emu_b.cur_warp;
    struct emu_warp *w = &emu_b.warp[wi];

    emu_b.cur->op = EMU_DONE;
    w->live &= ~(1u << (unsigned)emu_lane_now);
    emu_b.n_live--;
    for (unsigned i = 0; i < w->n_meet;) {
        struct emu_meet m = w->meet[i];

        if (m.here != (m.mask & w->live)) {
            i++;
            continue;
        }
        w->meet[i] = w->meet[--w->n_meet];
        meet_done(wi, m);
    }
    if (emu_b.n_barrier != 0 && emu_b.n_barrier == emu_b.n_live)
        barrier_open();
}

void emu_say_waiting(char *out, size_t n_out)
{
    size_t at = 0;

    for (unsigned op = EMU_DONE; op <= EMU_MMA_F16; op++) {
        unsigned n = 0;
        struct emu_dim first = {0, 0, 0};

        for (unsigned i = 0; i < emu_b.n_thread; i++) {
            const struct emu_thread *t = &emu_b.thread[i];

            if (t->op == op && n++ == 0)
                first = t->tid;
        }
        if (n == 0 || at >= n_out)
            continue;
        at += (size_t)snprintf(
            out + at, n_out - at, "%s%u threads at %s, the first is (%u,%u,%u)",
            at == 0 ? "" : "; ", n, op_names[op], first.x, first.y, first.z);
    }
}

/* --- the kernel in front -------------------------------------------------- */

void pdl_wait(void)
{
    emu_b.waited = true;
    if (!emu_b.before)
        return;
    emu_b.cur->op = EMU_PDL_WAIT;
    emu_b.n_wait++;
    emu_next(false);
}

void emu_before_done(void)
{
    for (unsigned i = 0; i < emu_b.n_thread; i++) {
        if (emu_b.thread[i].op == EMU_PDL_WAIT)
            make_ready(i / 32, 1u << i % 32);
    }
    emu_b.n_wait = 0;
}

/* --- what kernels call ---------------------------------------------------- */

void emu_syncwarp(uint32_t mask)
{
    meet(EMU_SYNCWARP, mask);
}

uint32_t emu_ballot(uint32_t mask, bool p)
{
    struct emu_thread *t = emu_b.cur;

    t->in[0] = p;
    meet(EMU_BALLOT, mask);
    return t->out[0];
}

uint64_t emu_shfl(uint32_t mask, uint64_t v, int src)
{
    struct emu_thread *t = emu_b.cur;

    t->in[0] = (uint32_t)v;
    t->in[1] = (uint32_t)(v >> 32);
    t->in[2] = (uint32_t)src;
    meet(EMU_SHFL, mask);
    return (uint64_t)t->out[1] << 32 | t->out[0];
}

void emu_ldmatrix_x4(uint32_t r[4], smem_t s, bool trans)
{
    struct emu_thread *t = emu_b.cur;

    t->in[0] = s;
    meet(trans ? EMU_LDMATRIX_TRANS : EMU_LDMATRIX, 0xffffffffu);
    memcpy(r, t->out, sizeof t->out);
}

void emu_mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1,
             bool bf16)
{
    struct emu_thread *t = emu_b.cur;

    memcpy(t->in, a, 16);
    t->in[4] = b0;
    t->in[5] = b1;
    memcpy(&t->in[6], c, 16);
    meet(bf16 ? EMU_MMA_BF16 : EMU_MMA_F16, 0xffffffffu);
    memcpy(c, t->out, sizeof t->out);
}
