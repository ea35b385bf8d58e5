/* The texts that wait for a classifier, and what its threads do: none of it needs the interpreter.
 *
 * Texts are admitted, kept and chosen by the rules of service/inference/queue.py; but short ones need not wait for a pass of long
 * ones to end, which lets them past. Every function may be called from any thread, but `collect` and `free` from one
 * alone. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "processors.h"

#define LANES 4 /* of what is not compiled for each kind of processor: here nothing that computes */
#include "classifier.h"

#define MOST_BUCKETS 64
#define NEWEST_WEIGHT 0.2
#define LEAST_SECONDS 1e-6
#define NO_MEMORY (-2) /* besides what is in Outcome */
#define SHORT_TOKENS PAUSE_STEPS /* a pass lets past, at each pause, at most one batch of no more steps than it did since the last */

/* What is set, and what is told: both are read from Python. */
typedef struct {
    const Classifier *model;
    int32_t buckets;              /* at most MOST_BUCKETS */
    int32_t largest_batch;        /* texts; never more than MOST_ROWS */
    int32_t max_batch_tokens;     /* padded to their buckets; a single text always goes */
    int32_t bell;                 /* a file: can be read when something is there to collect */
    double patience_seconds;      /* a text that has waited longer is not passed over any more */
    double patience_rounds;       /* nor one that has waited so many times as long as all that waits should take */
    int32_t bounds[MOST_BUCKETS]; /* tokens of the longest text in a bucket, in rising order */
    int32_t mates[MOST_BUCKETS];  /* the first of the buckets whose texts may go with those of this one */
    int64_t waiting_tokens;       /* padded */
    int64_t tokens;               /* of all that is admitted and not yet done */
    double tokens_per_second;     /* that all threads together got through lately; 0 before the first batch */
} Terms;

typedef struct Text {
    struct Text *next, *previous; /* in its bucket, or in what is done */
    int32_t length, bucket, is_taken, outcome;
    double entered, started, seconds;
    int32_t ids[]; /* [length], and behind them the outputs: float32 logits [labels], attention [length], contributions [length] */
} Text;

typedef struct {
    Text *first, *last;
    int count;
} Queue;

typedef struct {
    Terms terms;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Queue waiting[MOST_BUCKETS]; /* oldest first */
    Queue done, collected;
    int short_buckets; /* how many are of short texts, which need not wait for a pass of long ones to end */
    int computing, idle, closed, hammer; /* batches, threads, whether nothing more comes, what rings the bell */
} Backlog;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + 1e-9 * at.tv_nsec;
}

static void append(Queue *queue, Text *text)
{
    text->next = NULL;
    text->previous = queue->last;
    *(queue->last ? &queue->last->next : &queue->first) = text;
    queue->last = text;
    queue->count++;
}

static Text *take_out(Queue *queue, Text *text)
{
    *(text->previous ? &text->previous->next : &queue->first) = text->next;
    *(text->next ? &text->next->previous : &queue->last) = text->previous;
    queue->count--;
    return text;
}

static void empty(Queue *queue)
{
    while (queue->first) free(take_out(queue, queue->first));
}

static float *outputs_of(Text *text) { return (float *)(text->ids + text->length); }

/* NULL where there is no memory, or no file left for the bell. */
Backlog *heed_backlog_open(const Terms *terms)
{
    Backlog *backlog = calloc(1, sizeof *backlog);
    int ends[2];
    if (!backlog || pipe(ends)) return free(backlog), NULL;
    for (int end = 0; end < 2; end++) {
        fcntl(ends[end], F_SETFL, O_NONBLOCK);
        fcntl(ends[end], F_SETFD, FD_CLOEXEC);
    }
    backlog->terms = *terms;
    backlog->terms.bell = ends[0];
    backlog->hammer = ends[1];
    while (backlog->short_buckets < terms->buckets && terms->bounds[backlog->short_buckets] <= SHORT_TOKENS)
        backlog->short_buckets++;
    pthread_mutex_init(&backlog->lock, NULL);
    pthread_cond_init(&backlog->changed, NULL);
    return backlog;
}

/* Once no thread works at it any more. */
void heed_backlog_free(Backlog *backlog)
{
    for (int bucket = 0; bucket < MOST_BUCKETS; bucket++) empty(&backlog->waiting[bucket]);
    empty(&backlog->done);
    empty(&backlog->collected);
    close(backlog->terms.bell);
    close(backlog->hammer);
    pthread_cond_destroy(&backlog->changed);
    pthread_mutex_destroy(&backlog->lock);
    free(backlog);
}

/* Nothing more is admitted: threads that find nothing to do end. */
void heed_backlog_close(Backlog *backlog)
{
    pthread_mutex_lock(&backlog->lock);
    backlog->closed = 1;
    pthread_cond_broadcast(&backlog->changed);
    pthread_mutex_unlock(&backlog->lock);
}

/* Admit ids int32[length], no longer than the last bucket; NULL where there is no memory. */
Text *heed_backlog_admit(Backlog *backlog, int32_t length, const int32_t *ids)
{
    Terms *terms = &backlog->terms;
    const size_t floats = terms->model->labels + 2 * (size_t)length;
    Text *text = malloc(sizeof *text + sizeof(int32_t) * length + sizeof(float) * floats);
    if (!text) return NULL;
    int bucket = 0;
    while (terms->bounds[bucket] < length) bucket++;
    *text = (Text){.length = length, .bucket = bucket, .entered = now()};
    memcpy(text->ids, ids, sizeof(int32_t) * length);
    pthread_mutex_lock(&backlog->lock);
    append(&backlog->waiting[bucket], text);
    terms->waiting_tokens += terms->bounds[bucket];
    terms->tokens += terms->bounds[bucket];
    const int somebody_waits = backlog->idle > 0;
    pthread_mutex_unlock(&backlog->lock);
    if (somebody_waits) pthread_cond_signal(&backlog->changed);
    return text;
}

/* Whether a text still waited; then it is gone now. It must not have been collected. */
int heed_backlog_leave(Backlog *backlog, Text *text)
{
    Terms *terms = &backlog->terms;
    pthread_mutex_lock(&backlog->lock);
    const int waited = !text->is_taken;
    if (waited) {
        take_out(&backlog->waiting[text->bucket], text);
        terms->waiting_tokens -= terms->bounds[text->bucket];
        terms->tokens -= terms->bounds[text->bucket];
    }
    pthread_mutex_unlock(&backlog->lock);
    if (waited) free(text);
    return waited;
}

/* Which texts go next: Backlog.take of service/inference/queue.py. */

static int room_of(const Backlog *backlog, int longest)
{
    const int fit = backlog->terms.max_batch_tokens / backlog->terms.bounds[longest];
    const int most = backlog->terms.largest_batch < MOST_ROWS ? backlog->terms.largest_batch : MOST_ROWS;
    const int room = fit < most ? fit : most;
    return room > 1 ? room : 1;
}

/* The share of a batch of texts up to this bucket that waits. */
static double fill_of(const Backlog *backlog, int longest)
{
    const int room = room_of(backlog, longest);
    int count = 0;
    for (int bucket = backlog->terms.mates[longest]; bucket <= longest; bucket++) count += backlog->waiting[bucket].count;
    return count < room ? (double)count / room : 1;
}

/* Which of these buckets has the oldest text; -1 where none has any. */
static int oldest_of(const Backlog *backlog, int first, int last)
{
    int oldest = -1;
    for (int bucket = first; bucket <= last; bucket++) {
        const Text *head = backlog->waiting[bucket].first;
        if (head && (oldest < 0 || head->entered < backlog->waiting[oldest].first->entered)) oldest = bucket;
    }
    return oldest;
}

/* Seconds after which a text is not passed over any more. */
static double patience_of(const Terms *terms)
{
    if (!terms->tokens_per_second) return terms->patience_seconds;
    const double in_rounds = terms->patience_rounds * terms->waiting_tokens / terms->tokens_per_second;
    return in_rounds < terms->patience_seconds ? in_rounds : terms->patience_seconds;
}

/* The bucket of the longest texts of the next batch, among the first so many; -1 where nothing waits in these. */
static int next_longest(const Backlog *backlog, int buckets)
{
    const Terms *terms = &backlog->terms;
    const int oldest = oldest_of(backlog, 0, buckets - 1);
    if (oldest < 0) return -1;
    if (now() - backlog->waiting[oldest].first->entered > patience_of(terms)) {
        int fullest = oldest;
        for (int bucket = oldest + 1; bucket < buckets && terms->mates[bucket] <= oldest; bucket++)
            if (backlog->waiting[bucket].first && fill_of(backlog, bucket) > fill_of(backlog, fullest)) fullest = bucket;
        return fullest;
    }
    int shortest = -1, full = -1;
    for (int bucket = 0; bucket < buckets; bucket++) {
        const Text *head = backlog->waiting[bucket].first;
        if (!head) continue;
        if (shortest < 0) shortest = bucket;
        if (room_of(backlog, bucket) > 1 && fill_of(backlog, bucket) == 1 &&
            (full < 0 || head->entered < backlog->waiting[full].first->entered))
            full = bucket;
    }
    return full < 0 ? shortest : full;
}

/* How many texts are in the next batch of the first so many buckets; 0 where nothing waits in these. */
static int take(Backlog *backlog, int buckets, Text **batch)
{
    const int longest = next_longest(backlog, buckets);
    if (longest < 0) return 0;
    const int room = room_of(backlog, longest);
    int count = 0, oldest;
    while (count < room && (oldest = oldest_of(backlog, backlog->terms.mates[longest], longest)) >= 0) {
        Text *text = take_out(&backlog->waiting[oldest], backlog->waiting[oldest].first);
        text->is_taken = 1;
        backlog->terms.waiting_tokens -= backlog->terms.bounds[oldest];
        batch[count++] = text;
    }
    return count;
}

/* What the threads do. */

typedef struct {
    float *floats;
    int64_t size;
} Room;

/* A thread. */
typedef struct {
    Backlog *backlog;
    Room room, short_room; /* of its passes, and of those that it does in between */
    int64_t tokens;        /* padded, that it computed since it last took a batch */
} Worker;

/* The outcome of one forward pass of up to MOST_ROWS texts, in which each has its outputs, right or not. */
static int run(const Classifier *model, int count, Text **texts, Room *room, const Pause *pause)
{
    int32_t lengths[MOST_ROWS];
    int64_t tokens = 0;
    for (int at = 0; at < count; at++) tokens += lengths[at] = texts[at]->length;
    const int64_t scratch = scratch_for(model, tokens), size = scratch + 3 * tokens + count * model->labels;
    if (size > room->size) {
        free(room->floats);
        room->floats = aligned_alloc(64, (sizeof(float) * size + 63) / 64 * 64);
        room->size = room->floats ? size : 0;
    }
    if (!room->floats) return NO_MEMORY;
    int32_t *ids = (int32_t *)(room->floats + scratch), *end = ids;
    for (int at = 0; at < count; end += lengths[at++]) memcpy(end, texts[at]->ids, sizeof(int32_t) * lengths[at]);
    float *attention = (float *)end, *contributions = attention + tokens, *logits = contributions + tokens;
    const int outcome = heed_classify(model, count, lengths, ids, logits, attention, contributions, room->floats, pause);
    for (int at = 0; at < count; at++) {
        float *outputs = outputs_of(texts[at]);
        memcpy(outputs, logits, sizeof(float) * model->labels);
        memcpy(outputs + model->labels, attention, sizeof(float) * lengths[at]);
        memcpy(outputs + model->labels + lengths[at], contributions, sizeof(float) * lengths[at]);
        logits += model->labels, attention += lengths[at], contributions += lengths[at];
    }
    return outcome;
}

/* A bad text fails alone: what is said of the others is the same without it. */
static void compute(const Classifier *model, int count, Text **batch, Room *room, const Pause *pause)
{
    const double started = now();
    const int together = run(model, count, batch, room, pause);
    for (int at = 0; at < count; at++)
        batch[at]->outcome = together == ALL_FINITE || count == 1 ? together : run(model, 1, batch + at, room, pause);
    const double seconds = now() - started;
    for (int at = 0; at < count; at++) batch[at]->started = started, batch[at]->seconds = seconds;
}

/* With the lock held: leave a batch that is done where it is collected; whether nothing was there before. */
static int hand_in(Worker *worker, int count, Text **batch)
{
    Backlog *backlog = worker->backlog;
    const int is_first = !backlog->done.first;
    int64_t tokens = 0;
    for (int at = 0; at < count; at++) {
        tokens += backlog->terms.bounds[batch[at]->bucket];
        append(&backlog->done, batch[at]);
    }
    backlog->terms.tokens -= tokens;
    worker->tokens += tokens;
    return is_first;
}

static void ring(const Backlog *backlog)
{
    while (write(backlog->hammer, "", 1) < 0 && errno == EINTR) {}
}

/* In the middle of a pass: a batch of short texts, if any wait, so that these need not wait for its end. */
static void let_short_texts_past(void *whose)
{
    Worker *worker = whose;
    Backlog *backlog = worker->backlog;
    Text *batch[MOST_ROWS];
    pthread_mutex_lock(&backlog->lock);
    const int count = take(backlog, backlog->short_buckets, batch);
    pthread_mutex_unlock(&backlog->lock);
    if (!count) return;
    compute(backlog->terms.model, count, batch, &worker->short_room, NULL);
    pthread_mutex_lock(&backlog->lock);
    const int is_first = hand_in(worker, count, batch);
    pthread_mutex_unlock(&backlog->lock);
    if (is_first) ring(backlog);
}

/* How fast all threads together are lately, by what one of them computed in so many seconds. */
static void measure(Terms *terms, int computing, int64_t tokens, double seconds)
{
    const double rate = computing * tokens / (seconds > LEAST_SECONDS ? seconds : LEAST_SECONDS);
    const double known = terms->tokens_per_second;
    terms->tokens_per_second = known ? known + NEWEST_WEIGHT * (rate - known) : rate;
}

/* One batch after the other, until the backlog is closed and nothing waits. */
void heed_backlog_work(Backlog *backlog)
{
    Worker worker = {.backlog = backlog};
    const Pause pause = {let_short_texts_past, &worker};
    Text *batch[MOST_ROWS];
    pthread_mutex_lock(&backlog->lock);
    for (;;) {
        while (!backlog->terms.waiting_tokens && !backlog->closed) {
            backlog->idle++;
            pthread_cond_wait(&backlog->changed, &backlog->lock);
            backlog->idle--;
        }
        if (!backlog->terms.waiting_tokens) break;
        const int count = take(backlog, backlog->terms.buckets, batch);
        backlog->computing++;
        worker.tokens = 0;
        pthread_mutex_unlock(&backlog->lock);
        compute(backlog->terms.model, count, batch, &worker.room, &pause);
        pthread_mutex_lock(&backlog->lock);
        const int is_first = hand_in(&worker, count, batch);
        measure(&backlog->terms, backlog->computing--, worker.tokens, batch[0]->seconds);
        if (!is_first) continue;
        pthread_mutex_unlock(&backlog->lock);
        ring(backlog);
        pthread_mutex_lock(&backlog->lock);
    }
    pthread_mutex_unlock(&backlog->lock);
    free(worker.room.floats);
    free(worker.short_room.floats);
}

/* What is told of a text that is done. */
typedef struct {
    const Text *text;
    const float *outputs;
    double queue_seconds, compute_seconds;
    int32_t outcome;
} Done;

/* How many texts are done and were not collected, `most` at most; they are gone at the next call. */
int heed_backlog_collect(Backlog *backlog, int most, Done *found)
{
    char rung[64];
    int count = 0;
    while (read(backlog->terms.bell, rung, sizeof rung) == sizeof rung) {}
    empty(&backlog->collected);
    pthread_mutex_lock(&backlog->lock);
    while (count < most && backlog->done.first) {
        Text *text = take_out(&backlog->done, backlog->done.first);
        append(&backlog->collected, text);
        found[count++] = (Done){text, outputs_of(text), text->started - text->entered, text->seconds, text->outcome};
    }
    pthread_mutex_unlock(&backlog->lock);
    return count;
}
