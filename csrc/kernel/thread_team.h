/* thread_team.h: a team of threads that lives within one call of the core.
 *
 * It is made when a call begins and joined before the call returns: between calls there are no
 * threads, so that a process may fork whenever it likes. Work comes in phases of items. A thread
 * takes the items of its own stretch first, so that what they touch stays in its cache from phase
 * to phase, and then those that nobody has taken. The caller works too, and waits for items that
 * are taken, never for threads that are not running: more threads than processors do not get stuck.
 */
#ifndef FASTSGD_KERNEL_THREAD_TEAM_H
#define FASTSGD_KERNEL_THREAD_TEAM_H

#include "template.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#if !defined(_WIN32)
#include <signal.h>
#endif

#include "denormals.h"

enum {
    MAX_ITEMS = 64,        /* of a phase, and threads */
    SPINS = 2000,          /* looks at a phase before the processor is offered to others */
    STACK_BYTES = 1 << 20, /* of a thread: a user's loss may want some */
};

typedef struct {
    void (*work)(void *on, int64_t item, int thread); /* of the phase */
    void *on;
    int64_t count;                       /* threads asked for, the caller among them */
    int64_t started;                     /* of them, at first */
    struct member *members;              /* (count - 1) */
    _Alignas(64) _Atomic uint64_t phase; /* its number << 32 | its items */
    _Alignas(64) _Atomic int64_t done;   /* items of the phase that are done */
    _Alignas(64) atomic_int over;
    _Alignas(64) _Atomic uint32_t taken[MAX_ITEMS]; /* the last phase in which each was */
} thread_team;

typedef struct member {
    thread_team *of;
    int number;
    pthread_t thread;
} member;

static inline void wait_a_little(int *spins) {
    if (++*spins > SPINS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Whether this thread is the one that takes an item of the phase: of a phase that is over all items
 * are taken already, in it or later. */
static int team_take(thread_team *t, uint32_t phase, int64_t item) {
    uint32_t last = atomic_load_explicit(&t->taken[item], memory_order_relaxed);
    return last < phase &&
           atomic_compare_exchange_strong_explicit(&t->taken[item], &last, phase,
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Do the items of the phase that nobody takes first; whether there was one. What a phase works on
 * may be read once an item is taken: the caller waits for it before it changes anything. */
static int team_help(thread_team *t, int thread) {
    const uint64_t phase = atomic_load_explicit(&t->phase, memory_order_acquire);
    const int64_t items = (int64_t)(phase & 0xffffffff), first = items * thread / t->count;
    int helped = 0;
    for (int64_t i = 0; i < items; ++i) {
        const int64_t item = first + i < items ? first + i : first + i - items;
        if (!team_take(t, (uint32_t)(phase >> 32), item)) continue;
        t->work(t->on, item, thread);
        atomic_fetch_add_explicit(&t->done, 1, memory_order_release);
        helped = 1;
    }
    return helped;
}

/* One phase: work(on, item, thread) for every item below `items`, MAX_ITEMS at most, side by side.
 */
static void team_do(thread_team *t, void (*work)(void *, int64_t, int), void *on, int64_t items) {
    if (items == 1 || t->started == 1) {
        for (int64_t item = 0; item < items; ++item) work(on, item, 0);
        return;
    }
    const uint64_t last = atomic_load_explicit(&t->phase, memory_order_relaxed) >> 32;
    t->work = work, t->on = on;
    atomic_store_explicit(&t->done, 0, memory_order_relaxed);
    atomic_store_explicit(&t->phase, (last + 1) << 32 | (uint64_t)items, memory_order_release);
    team_help(t, 0);
    for (int spins = 0; atomic_load_explicit(&t->done, memory_order_acquire) < items;)
        wait_a_little(&spins);
}

static void *team_member(void *self) {
    const member *me = self;
    int spins = 0;
    flush_denormals();
    while (!atomic_load_explicit(&me->of->over, memory_order_acquire))
        if (team_help(me->of, me->number))
            spins = 0;
        else
            wait_a_little(&spins);
    return NULL;
}

/* Start a thread that takes no signals: they are the caller's. Windows has none for a thread. */
static int start_member(member *me, const pthread_attr_t *attributes) {
#if defined(_WIN32)
    return pthread_create(&me->thread, attributes, team_member, me);
#else
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&me->thread, attributes, team_member, me);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
#endif
}

/* A team of up to `threads`: fewer where the system has no more. */
static void team_start(thread_team *t, int64_t threads) {
    *t = (thread_team){.count = threads < MAX_ITEMS ? threads : MAX_ITEMS, .started = 1};
    pthread_attr_t attributes;
    if (t->count < 2 || pthread_attr_init(&attributes) != 0) return;
    t->members = calloc((size_t)(t->count - 1), sizeof *t->members);
    if (t->members && pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0)
        for (; t->started < t->count; ++t->started) {
            member *next = &t->members[t->started - 1];
            *next = (member){.of = t, .number = (int)t->started};
            if (start_member(next, &attributes) != 0) break;
        }
    pthread_attr_destroy(&attributes);
}

static void team_end(thread_team *t) {
    atomic_store_explicit(&t->over, 1, memory_order_release);
    for (int64_t i = 0; i < t->started - 1; ++i) pthread_join(t->members[i].thread, NULL);
    free(t->members);
}

#endif
