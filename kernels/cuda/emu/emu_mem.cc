/* emu_mem.cc - Memory of the emulator. Device memory lies between pages that
 * nobody may touch and is full of 0xff, from a file of such bytes that is
 * mapped privately, so that only what is written takes memory. Dynamic shared
 * memory ends at such a page. Static shared memory is the thread-local memory
 * of the object that this file is linked into. */
#include "kernels/cuda/emu/emu_priv.h"

#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define PAGE       ((size_t)4096)
#define GUARD      ((size_t)256 << 10) /* around what may be touched */
#define FILL_BYTES ((size_t)16 << 20)  /* of the file of 0xff */

struct span {
    char *map, *base;
    size_t map_bytes, bytes;
    struct span *next;
};

char *emu_dyn;

static struct span *spans;
static pthread_mutex_t spans_lock = PTHREAD_MUTEX_INITIALIZER;
static int fill_fd = -1;

/* --- device memory -------------------------------------------------------- */

static bool fill_open(void)
{
    void *p;

    if (fill_fd >= 0)
        return true;
    fill_fd = memfd_create("emu", MFD_CLOEXEC);
    if (fill_fd < 0 || ftruncate(fill_fd, (off_t)FILL_BYTES) != 0)
        return false;
    p = mmap(NULL, FILL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fill_fd, 0);
    if (p == MAP_FAILED)
        return false;
    memset(p, 0xff, FILL_BYTES);
    return munmap(p, FILL_BYTES) == 0;
}

/* <bytes> of 0xff at <at>, a multiple of a page. */
static bool fill_map(char *at, size_t bytes)
{
    while (bytes != 0) {
        size_t n = bytes < FILL_BYTES ? bytes : FILL_BYTES;

        if (mmap(at, n, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fill_fd,
                 0) == MAP_FAILED)
            return false;
        at += n;
        bytes -= n;
    }
    return true;
}

static struct span *span_new(size_t bytes)
{
    size_t room = (bytes + 255) & ~(size_t)255;
    size_t inner = (room + PAGE - 1) & ~(PAGE - 1);
    struct span *s = (struct span *)calloc(1, sizeof *s);
    void *p;

    if (!s || bytes > (size_t)1 << 46 || !fill_open()) {
        free(s);
        return NULL;
    }
    s->map_bytes = inner + 2 * GUARD;
    p = mmap(NULL, s->map_bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        free(s);
        return NULL;
    }
    s->map = (char *)p;
    s->base = s->map + GUARD + inner - room;
    s->bytes = bytes;
    if (!fill_map(s->map + GUARD, inner)) {
        (void)munmap(s->map, s->map_bytes);
        free(s);
        return NULL;
    }
    return s;
}

void *emu_alloc(size_t bytes)
{
    struct span *s;

    pthread_mutex_lock(&spans_lock);
    s = span_new(bytes == 0 ? 1 : bytes);
    if (s) {
        s->next = spans;
        spans = s;
    }
    pthread_mutex_unlock(&spans_lock);
    return s ? s->base : NULL;
}

static bool all_ones(const char *p, const char *end)
{
    while (p < end && *(const unsigned char *)p == 0xff)
        p++;
    return p == end;
}

bool emu_free(void *p)
{
    struct span **at = &spans, *s;
    bool ok;

    if (!p)
        return true;
    pthread_mutex_lock(&spans_lock);
    while (*at && (*at)->base != p)
        at = &(*at)->next;
    s = *at;
    if (s)
        *at = s->next;
    pthread_mutex_unlock(&spans_lock);
    if (!s)
        return false;
    ok = all_ones(s->map + GUARD, s->base) &&
         all_ones(s->base + s->bytes, s->map + s->map_bytes - GUARD);
    (void)munmap(s->map, s->map_bytes);
    free(s);
    return ok;
}

void emu_hide(void *p, bool on)
{
    const struct span *s;

    pthread_mutex_lock(&spans_lock);
    for (s = spans; s && s->base != p; s = s->next)
        ;
    if (s)
        (void)mprotect(s->map + GUARD, s->map_bytes - 2 * GUARD,
                       on ? PROT_NONE : PROT_READ | PROT_WRITE);
    pthread_mutex_unlock(&spans_lock);
}

bool emu_owns(const void *p, size_t bytes)
{
    const struct span *s;
    const char *c = (const char *)p;

    pthread_mutex_lock(&spans_lock);
    for (s = spans; s; s = s->next)
        if (c >= s->base && c <= s->base + s->bytes &&
            bytes <= s->bytes - (size_t)(c - s->base))
            break;
    pthread_mutex_unlock(&spans_lock);
    return s != NULL;
}

void emu_where(const void *p, char *out, size_t n_out)
{
    const struct span *s;
    const char *c = (const char *)p;

    snprintf(out, n_out, "which is in no device memory");
    pthread_mutex_lock(&spans_lock);
    for (s = spans; s; s = s->next) {
        if (c < s->map || c >= s->map + s->map_bytes)
            continue;
        if (c < s->base)
            snprintf(out, n_out, "%zu bytes before a block of %zu",
                     (size_t)(s->base - c), s->bytes);
        else
            snprintf(out, n_out, "byte %zu of a block of %zu",
                     (size_t)(c - s->base), s->bytes);
    }
    pthread_mutex_unlock(&spans_lock);
}

/* --- shared memory -------------------------------------------------------- */

/* Address space for dynamic shared memory, and pages that nobody may touch
 * behind it; in front of what a launch uses, likewise. */
char *emu_window;
char *emu_static;
static size_t window_open;   /* of them, at the end, may be touched */
static int static_fill = -1; /* emu_fill_static(), or -1 */
static char *static_base;    /* the running thread's */
static size_t static_bytes;
static ptrdiff_t marker_offset;
static bool static_known, in_program;

__shared__ uint32_t marker; /* so that there is thread-local memory */

static int find_static(struct dl_phdr_info *info, size_t size, void *arg)
{
    bool here = false;

    (void)size;
    (void)arg;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + ph->p_vaddr;

        if (ph->p_type == PT_LOAD && (uintptr_t)&emu_dyn >= at &&
            (uintptr_t)&emu_dyn < at + ph->p_memsz)
            here = true;
        if (ph->p_type == PT_TLS)
            static_bytes = ph->p_memsz;
    }
    if (!here)
        return 0;
    marker_offset = (char *)&marker - (char *)info->dlpi_tls_data;
    in_program = info->dlpi_name[0] == '\0';
    return 1;
}

void emu_fill_static(bool on)
{
    static_fill = on;
}

static bool window_map(void)
{
    void *p;

    if (emu_window)
        return true;
    p = mmap(NULL, EMU_WINDOW_BYTES + 2 * GUARD, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    emu_window = (char *)p + GUARD;
    return true;
}

static size_t dyn_room(void)
{
    return (emu_b.smem + 127) & ~(size_t)127;
}

/* Whether static shared memory is filled. */
static bool static_fills(void)
{
#ifdef SANITIZED
    return false;
#else
    return static_fill >= 0 ? static_fill != 0 : !in_program;
#endif
}

bool emu_shared_ready(void)
{
    size_t room = dyn_room(), pages = (room + PAGE - 1) & ~(PAGE - 1);

    if (!static_known) {
        marker = 0;
        (void)dl_iterate_phdr(find_static, NULL);
        static_known = true;
    }
    if (!window_map())
        return false;
    if (pages != window_open) {
        (void)mprotect(emu_window, EMU_WINDOW_BYTES, PROT_NONE);
        if (mprotect(emu_window + EMU_WINDOW_BYTES - pages, pages,
                     PROT_READ | PROT_WRITE) != 0)
            return false;
        window_open = pages;
    }
    emu_dyn = emu_window + EMU_WINDOW_BYTES - room;
    memset(emu_window + EMU_WINDOW_BYTES - pages, 0xff, pages);
    static_base = (char *)&marker - marker_offset;
    emu_static = (char *)((uintptr_t)static_base & ~(uintptr_t)127);
    if (static_fills())
        memset(static_base, 0xff, static_bytes);
    return true;
}

void *emu_shared_save(void)
{
    size_t n = static_bytes;
    char *to = (char *)malloc(n + window_open + 1);

    if (!to)
        return NULL;
    memcpy(to, static_base, n);
    memcpy(to + n, emu_window + EMU_WINDOW_BYTES - window_open, window_open);
    return to;
}

bool emu_shared_restore(const void *saved)
{
    size_t n = static_bytes;

    if (!emu_shared_ready())
        return false;
    memcpy(static_base, saved, n);
    memcpy(emu_window + EMU_WINDOW_BYTES - window_open, (const char *)saved + n,
           window_open);
    return true;
}

bool emu_is_shared(const void *p)
{
    const char *c = (const char *)p;

    return (c >= emu_window && c < emu_window + EMU_WINDOW_BYTES + GUARD) ||
           (c >= static_base && c + 16 <= static_base + static_bytes);
}

bool emu_shared_whole(void)
{
    return all_ones(emu_dyn + emu_b.smem, emu_window + EMU_WINDOW_BYTES) &&
           all_ones(emu_window + EMU_WINDOW_BYTES - window_open, emu_dyn);
}
