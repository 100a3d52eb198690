/* gorun_ring.h: messages from one program to one other through shared memory, the C side.
 *
 * The Rust side is gorun::foreign (feature shared_memory). Both implement this page; neither trusts the other's numbers.
 * Needs C11 with <stdatomic.h> and Linux. No library: every function is static inline.
 *
 *   byte   0  magic        "gorunrg1" as a little-endian number; stored last, with release
 *          8  slots        32 bits, a power of two, 1..2^24
 *         12  slot_bytes   32 bits, a multiple of 8, 8..2^20
 *         64  tail         64 bits: messages ever written; stored by the writer
 *        128  head         64 bits: messages ever read; stored by the reader
 *        192  readable     32 bits: doorbell of the reader
 *        196  writable     32 bits: doorbell of the writer
 *        200  closed       32 bits: not 0 when either side has closed
 *        256  slots        each: 64 bits of length, then slot_bytes bytes
 *
 * Message number n (from 0) lies in slot n % slots. The writer writes it if tail - head < slots, then stores tail + 1 with
 * release; the reader reads it if tail - head > 0 (load with acquire), then stores head + 1 with release. More than `slots`
 * between the two is nonsense. There is one writer and one reader at a time.
 *
 * A doorbell is a futex word: bit 0 says that somebody sleeps or is about to; the rest counts wake-ups. Who sleeps sets
 * bit 0 (seq_cst), fences, looks once more, waits while the word is as it was, and clears bit 0. Who has published fences
 * (seq_cst), and only if bit 0 is set adds 2, clears it and wakes one. Futexes here are shared between processes.
 *
 * Nobody notices that the other side was killed: pass timeouts.
 */
#ifndef GORUN_RING_H
#define GORUN_RING_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GORUN_RING_MAGIC UINT64_C(0x3167726e75726f67)
#define GORUN_RING_SLOTS_MAX (UINT32_C(1) << 24)
#define GORUN_RING_SLOT_BYTES_MAX (UINT32_C(1) << 20)

/* What the functions return beside 0. */
enum {
    GORUN_RING_OK = 0,
    GORUN_RING_FULL = -1,     /* no room, and none in time */
    GORUN_RING_EMPTY = -2,    /* no message, and none in time */
    GORUN_RING_CLOSED = -3,   /* closed; a reader has read everything */
    GORUN_RING_TOO_LONG = -4, /* the message, for a slot or for the caller's buffer: it stays */
    GORUN_RING_NO_RING = -5   /* never made, overwritten, too large for the memory, or of another version */
};

struct gorun_ring {
    _Atomic uint64_t magic;
    uint32_t slots;
    uint32_t slot_bytes;
    unsigned char pad_0[48];
    _Atomic uint64_t tail;
    unsigned char pad_1[56];
    _Atomic uint64_t head;
    unsigned char pad_2[56];
    _Atomic uint32_t readable;
    _Atomic uint32_t writable;
    _Atomic uint32_t closed;
    unsigned char pad_3[52];
};

_Static_assert(offsetof(struct gorun_ring, tail) == 64, "layout");
_Static_assert(offsetof(struct gorun_ring, head) == 128, "layout");
_Static_assert(offsetof(struct gorun_ring, readable) == 192, "layout");
_Static_assert(offsetof(struct gorun_ring, closed) == 200, "layout");
_Static_assert(sizeof(struct gorun_ring) == 256, "layout");

/* One side of a ring, in the program's own memory. */
struct gorun_ring_end {
    struct gorun_ring *ring;
    uint32_t slots;
    uint32_t slot_bytes;
    uint64_t position;
};

/* Bytes that a ring takes. */
static inline uint64_t gorun_ring_bytes(uint32_t slots, uint32_t slot_bytes)
{
    return sizeof(struct gorun_ring) + (uint64_t)slots * (8 + (uint64_t)slot_bytes);
}

static inline int gorun_ring_is_shape(uint32_t slots, uint32_t slot_bytes)
{
    return slots >= 1 && slots <= GORUN_RING_SLOTS_MAX && (slots & (slots - 1)) == 0 && slot_bytes >= 8 &&
           slot_bytes <= GORUN_RING_SLOT_BYTES_MAX && slot_bytes % 8 == 0;
}

/* Makes an empty ring at `place` (aligned to 64 bytes), before the other side opens it. */
static inline int gorun_ring_format(void *place, uint64_t room, uint32_t slots, uint32_t slot_bytes)
{
    struct gorun_ring *ring = place;
    if (!gorun_ring_is_shape(slots, slot_bytes) || gorun_ring_bytes(slots, slot_bytes) > room)
        return GORUN_RING_NO_RING;
    memset(place, 0, sizeof *ring);
    ring->slots = slots;
    ring->slot_bytes = slot_bytes;
    atomic_store_explicit(&ring->magic, GORUN_RING_MAGIC, memory_order_release);
    return GORUN_RING_OK;
}

static inline int gorun_ring_open(struct gorun_ring_end *end, void *place, uint64_t room)
{
    struct gorun_ring *ring = place;
    if (room < sizeof *ring || atomic_load_explicit(&ring->magic, memory_order_acquire) != GORUN_RING_MAGIC)
        return GORUN_RING_NO_RING;
    end->ring = ring;
    end->slots = ring->slots;
    end->slot_bytes = ring->slot_bytes;
    if (!gorun_ring_is_shape(end->slots, end->slot_bytes) || gorun_ring_bytes(end->slots, end->slot_bytes) > room)
        return GORUN_RING_NO_RING;
    return GORUN_RING_OK;
}

/* The ring at `place`, in `room` bytes, to write to; goes on where the last writer stopped. */
static inline int gorun_ring_open_writer(struct gorun_ring_end *end, void *place, uint64_t room)
{
    int opened = gorun_ring_open(end, place, room);
    if (opened == GORUN_RING_OK)
        end->position = atomic_load_explicit(&end->ring->tail, memory_order_acquire);
    return opened;
}

/* The same to read from; goes on where the last reader stopped. */
static inline int gorun_ring_open_reader(struct gorun_ring_end *end, void *place, uint64_t room)
{
    int opened = gorun_ring_open(end, place, room);
    if (opened == GORUN_RING_OK)
        end->position = atomic_load_explicit(&end->ring->head, memory_order_acquire);
    return opened;
}

static inline unsigned char *gorun_ring_slot(const struct gorun_ring_end *end)
{
    unsigned char *first = (unsigned char *)end->ring + sizeof *end->ring;
    return first + (end->position & (end->slots - 1)) * (8 + (uint64_t)end->slot_bytes);
}

static inline void gorun_ring_bell(_Atomic uint32_t *bell)
{
    uint32_t word = atomic_load_explicit(bell, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(bell, &word, (word & ~UINT32_C(1)) + 2, memory_order_release,
                                                  memory_order_relaxed)) {
    }
    syscall(SYS_futex, bell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static inline void gorun_ring_notify(_Atomic uint32_t *bell)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(bell, memory_order_relaxed) & 1)
        gorun_ring_bell(bell);
}

static inline int64_t gorun_ring_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int gorun_ring_try_write(struct gorun_ring_end *end, const void *message, uint32_t bytes)
{
    uint64_t length = bytes;
    uint64_t used;
    if (bytes > end->slot_bytes)
        return GORUN_RING_TOO_LONG;
    if (atomic_load_explicit(&end->ring->closed, memory_order_acquire))
        return GORUN_RING_CLOSED;
    used = end->position - atomic_load_explicit(&end->ring->head, memory_order_acquire);
    if (used == end->slots)
        return GORUN_RING_FULL;
    if (used > end->slots)
        return GORUN_RING_NO_RING;
    memcpy(gorun_ring_slot(end), &length, 8);
    memcpy(gorun_ring_slot(end) + 8, message, bytes);
    end->position += 1;
    atomic_store_explicit(&end->ring->tail, end->position, memory_order_release);
    gorun_ring_notify(&end->ring->readable);
    return GORUN_RING_OK;
}

/* Reads the next message into `buffer`; `*bytes` is its length, also if it is longer than `room`. */
static inline int gorun_ring_try_read(struct gorun_ring_end *end, void *buffer, uint32_t room, uint32_t *bytes)
{
    uint64_t length, used;
    /* Looked at before the tail: what was written before the end is found behind it. */
    int is_closed = atomic_load_explicit(&end->ring->closed, memory_order_acquire) != 0;
    used = atomic_load_explicit(&end->ring->tail, memory_order_acquire) - end->position;
    if (used == 0)
        return is_closed ? GORUN_RING_CLOSED : GORUN_RING_EMPTY;
    if (used > end->slots)
        return GORUN_RING_NO_RING;
    memcpy(&length, gorun_ring_slot(end), 8);
    if (length > end->slot_bytes)
        return GORUN_RING_NO_RING;
    *bytes = (uint32_t)length;
    if (length > room)
        return GORUN_RING_TOO_LONG;
    memcpy(buffer, gorun_ring_slot(end) + 8, length);
    end->position += 1;
    atomic_store_explicit(&end->ring->head, end->position, memory_order_release);
    gorun_ring_notify(&end->ring->writable);
    return GORUN_RING_OK;
}

/* Announces that the caller will sleep; it looks once more before it does. */
static inline uint32_t gorun_ring_arm(_Atomic uint32_t *bell)
{
    uint32_t word = atomic_fetch_or_explicit(bell, 1, memory_order_seq_cst) | 1;
    atomic_thread_fence(memory_order_seq_cst);
    return word;
}

static inline void gorun_ring_disarm(_Atomic uint32_t *bell)
{
    atomic_fetch_and_explicit(bell, ~UINT32_C(1), memory_order_relaxed);
}

/* Sleeps while the bell is as armed; 0 if `deadline_ms` (negative: none) is over already. */
static inline int gorun_ring_sleep(_Atomic uint32_t *bell, uint32_t armed, int64_t deadline_ms)
{
    struct timespec limit;
    int64_t left = 0;
    if (deadline_ms >= 0) {
        left = deadline_ms - gorun_ring_now_ms();
        if (left <= 0) {
            gorun_ring_disarm(bell);
            return 0;
        }
        limit.tv_sec = left / 1000;
        limit.tv_nsec = left % 1000 * 1000000;
    }
    syscall(SYS_futex, bell, FUTEX_WAIT, armed, deadline_ms >= 0 ? &limit : NULL, NULL, 0);
    gorun_ring_disarm(bell);
    return 1;
}

/* Writes a message when there is room, after at most `timeout_ms` (negative: as long as it takes). */
static inline int gorun_ring_write(struct gorun_ring_end *end, const void *message, uint32_t bytes, int64_t timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? -1 : gorun_ring_now_ms() + timeout_ms;
    for (;;) {
        uint32_t armed;
        int done = gorun_ring_try_write(end, message, bytes);
        if (done != GORUN_RING_FULL)
            return done;
        armed = gorun_ring_arm(&end->ring->writable);
        done = gorun_ring_try_write(end, message, bytes);
        if (done != GORUN_RING_FULL) {
            gorun_ring_disarm(&end->ring->writable);
            return done;
        }
        if (!gorun_ring_sleep(&end->ring->writable, armed, deadline))
            return GORUN_RING_FULL;
    }
}

/* Reads the next message, after at most `timeout_ms` (negative: as long as it takes). */
static inline int gorun_ring_read(struct gorun_ring_end *end, void *buffer, uint32_t room, uint32_t *bytes,
                                  int64_t timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? -1 : gorun_ring_now_ms() + timeout_ms;
    for (;;) {
        uint32_t armed;
        int done = gorun_ring_try_read(end, buffer, room, bytes);
        if (done != GORUN_RING_EMPTY)
            return done;
        armed = gorun_ring_arm(&end->ring->readable);
        done = gorun_ring_try_read(end, buffer, room, bytes);
        if (done != GORUN_RING_EMPTY) {
            gorun_ring_disarm(&end->ring->readable);
            return done;
        }
        if (!gorun_ring_sleep(&end->ring->readable, armed, deadline))
            return GORUN_RING_EMPTY;
    }
}

/* Nothing more will be written, or read: the other side hears of it. */
static inline void gorun_ring_close(struct gorun_ring_end *end)
{
    atomic_store_explicit(&end->ring->closed, 1, memory_order_release);
    gorun_ring_bell(&end->ring->readable);
    gorun_ring_bell(&end->ring->writable);
}

#endif
