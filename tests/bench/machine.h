/* machine.h - What this machine can do at most: bytes read and fused multiply
 * and add operations a second, measured with all threads at once. */
#ifndef TG_BENCH_MACHINE_H
#define TG_BENCH_MACHINE_H

struct model;

/* What was measured. */
struct machine {
    char name[128];      /* the CPU's own name and the number of cores */
    unsigned threads;    /* that measured */
    double read_bytes_s; /* best of five passes over 512 MiB */
    double flops;        /* best of five, in the widest vectors there are */
};

/* Measure with <threads> threads; 0 = one a core. Takes about two seconds. */
void machine_measure(struct machine *out, unsigned threads);

/* Weights that every token of a prompt is multiplied with: those of the
 * layers, without the output, which only the last one needs. */
double machine_params(const struct model *m);

#endif
