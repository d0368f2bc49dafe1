/* allocations.c: allocations that fail when they are told to, for LD_PRELOAD: test_allocations.py.
 *
 * The core's own are known by the address they return to, which lies in its code; threads that it
 * asks for are counted among them. Those of NumPy's arrays come through a handler of NumPy's
 * (PyDataMem_SetHandler). Those of everybody are counted from a size on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

enum kind { NOBODY, CORE, ARRAYS, EVERYBODY };
enum { MOST = 1 << 12 };

static uintptr_t begin, end;  /* of the core's code */
static volatile int lock;     /* of all that follows */
static enum kind failing;     /* whose allocations fail */
static long countdown;        /* to the one that fails; 0: none does */
static size_t least;          /* bytes of an allocation of everybody */
static long counted, failed;  /* since fail_at */
static void *blocks[MOST];    /* of the core that are not free yet */
static long n_blocks, arrays; /* their number, and that of NumPy's arrays */

static void take_lock(void) {
    while (__sync_lock_test_and_set(&lock, 1)) {
    }
}

static void leave_lock(void) { __sync_lock_release(&lock); }

void watch(uintptr_t from, uintptr_t to) { begin = from, end = to; }

void fail_at(int kind, long n, size_t bytes) {
    take_lock();
    failing = (enum kind)kind, countdown = n, least = bytes, counted = failed = 0;
    leave_lock();
}

long allocations_counted(void) { return counted; }
long allocations_failed(void) { return failed; }
long blocks_alive(void) { return n_blocks; }
long arrays_alive(void) { return arrays; }

static int is_core(const void *caller) {
    return (uintptr_t)caller >= begin && (uintptr_t)caller < end;
}

/* Whether this allocation is the one that fails. */
static int fails(enum kind kind, size_t bytes) {
    int now = 0;
    if (failing != kind || countdown == 0 || bytes < least) return 0;
    take_lock();
    if (failing == kind && countdown > 0) {
        ++counted;
        now = --countdown == 0;
        failed += now;
    }
    leave_lock();
    if (now) errno = ENOMEM;
    return now;
}

static int fails_for(const void *caller, size_t bytes) {
    return (is_core(caller) && fails(CORE, bytes)) || fails(EVERYBODY, bytes);
}

static void *kept(const void *caller, void *block) {
    if (!block || !is_core(caller)) return block;
    take_lock();
    if (n_blocks < MOST) blocks[n_blocks++] = block;
    leave_lock();
    return block;
}

static void forget(const void *block) {
    if (n_blocks == 0 || !block) return;
    take_lock();
    for (long i = n_blocks - 1; i >= 0; --i)
        if (blocks[i] == block) {
            blocks[i] = blocks[--n_blocks];
            break;
        }
    leave_lock();
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t n) { return fails_for(CALLER, n) ? NULL : kept(CALLER, __libc_malloc(n)); }

void *calloc(size_t n, size_t m) {
    return fails_for(CALLER, n * m) ? NULL : kept(CALLER, __libc_calloc(n, m));
}

/* Not counted as a block: the table that Cython has of places of exceptions grows now and then, by
 * PyMem_Realloc, which jumps here and so seems to be of the core, whose C code has no realloc. */
void *realloc(void *p, size_t n) {
    if (fails_for(CALLER, n)) return NULL;
    forget(p);
    return __libc_realloc(p, n);
}

void *memalign(size_t a, size_t n) {
    return fails_for(CALLER, n) ? NULL : kept(CALLER, __libc_memalign(a, n));
}

void *aligned_alloc(size_t a, size_t n) {
    return fails_for(CALLER, n) ? NULL : kept(CALLER, __libc_memalign(a, n));
}

int posix_memalign(void **p, size_t a, size_t n) {
    if (fails_for(CALLER, n)) return ENOMEM;
    void *block = kept(CALLER, __libc_memalign(a, n));
    if (!block) return ENOMEM;
    *p = block;
    return 0;
}

void free(void *p) {
    forget(p);
    __libc_free(p);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*f)(void *), void *of) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (is_core(CALLER) && fails(CORE, least)) return EAGAIN;
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, how, f, of);
}

/* ---------------------------------------------------------------- NumPy's arrays */

static void *array(void *block) {
    if (block) __sync_fetch_and_add(&arrays, 1);
    return block;
}

static void *array_malloc(void *of, size_t n) {
    (void)of;
    return fails(ARRAYS, n) ? NULL : array(__libc_malloc(n));
}

static void *array_calloc(void *of, size_t n, size_t m) {
    (void)of;
    return fails(ARRAYS, n * m) ? NULL : array(__libc_calloc(n, m));
}

static void *array_realloc(void *of, void *p, size_t n) {
    (void)of;
    if (fails(ARRAYS, n)) return NULL;
    return p ? __libc_realloc(p, n) : array(__libc_malloc(n));
}

static void array_free(void *of, void *p, size_t n) {
    (void)of, (void)n;
    if (p) __sync_fetch_and_sub(&arrays, 1);
    __libc_free(p);
}

/* As NumPy declares a PyDataMem_Handler. */
struct {
    char name[127];
    uint8_t version;
    struct {
        void *of;
        void *(*malloc)(void *, size_t);
        void *(*calloc)(void *, size_t, size_t);
        void *(*realloc)(void *, void *, size_t);
        void (*free)(void *, void *, size_t);
    } allocator;
} array_handler = {"allocations", 1, {NULL, array_malloc, array_calloc, array_realloc, array_free}};
