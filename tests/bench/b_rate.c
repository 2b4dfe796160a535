/* b_rate.c - What the limits of a key and its team cost a request: its place,
 * its tokens, what it is told and the end, alone and on threads that all use
 * the same key. Best of some rounds, in ns. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "account/key.h"
#include "account/rate.h"
#include "base/clock.h"

#define TIMES  200000
#define ROUNDS 7
#define MOST   4 /* threads */

/* What the threads share. */
struct shared {
    struct rate *key;
    struct rate *team;
};

static struct rate *rate_wide(void)
{
    const struct key_limits wide = {1u << 30, 1u << 30, 1u << 30};
    struct rate *r = rate_new(&wide);

    if (!r) {
        fprintf(stderr, "b_rate: no memory\n");
        exit(1);
    }
    return r;
}

static void *requests(void *arg)
{
    const struct shared *s = arg;
    struct rate_refusal why;
    struct rate_view view;
    struct rate_hold h;

    for (int i = 0; i < TIMES; i++) {
        rate_hold_init(&h, s->key ? rate_ref(s->key) : NULL,
                       s->team ? rate_ref(s->team) : NULL);
        if (!rate_enter(&h, clock_mono_us(), &why) ||
            !rate_charge(&h, 10, clock_mono_us(), &why))
            exit(1);
        rate_view(&h, clock_mono_us(), &view);
        rate_end(&h, 9, clock_mono_us());
    }
    return NULL;
}

static void measure(const char *what, struct shared *s, int threads)
{
    double best = 1e18;
    pthread_t t[MOST];

    for (int r = 0; r < ROUNDS; r++) {
        const uint64_t start_us = clock_now_us();
        double each;

        for (int i = 0; i < threads; i++)
            if (pthread_create(&t[i], NULL, requests, s) != 0)
                exit(1);
        for (int i = 0; i < threads; i++)
            pthread_join(t[i], NULL);
        each = (double)(clock_now_us() - start_us) * 1000 / TIMES;
        if (each < best)
            best = each;
    }
    printf("%-32s %8.0f ns\n", what, best);
}

int main(void)
{
    struct shared none = {NULL, NULL};
    struct shared key = {rate_wide(), NULL};
    struct shared both = {key.key, rate_wide()};

    measure("no limits", &none, 1);
    measure("key", &key, 1);
    measure("key and team", &both, 1);
    measure("key and team, 2 threads", &both, 2);
    measure("key and team, 4 threads", &both, 4);
    rate_unref(key.key);
    rate_unref(both.team);
    return 0;
}
