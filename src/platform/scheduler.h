/* SPDX-License-Identifier: MIT */
/* scheduler.h -- background work and waiting, on threads in production and on one seeded thread in
 * simulation.  In production a job runs on one of a fixed set of threads, high priority first. In simulation
 * jobs are coroutines on the caller's own thread: bl_point, taking a lock, and every wait may switch to
 * another one, chosen by the seed. Same seed, same calls: same run, same bytes. A job must not wait while it
 * holds a lock other than the one it waits with. bl_point must not be called inside an epoch or with a lock
 * held (asserted in simulation); bl_point_inside may be called inside an epoch. */
#ifndef BL_PLATFORM_SCHEDULER_H
#define BL_PLATFORM_SCHEDULER_H

#include <bole/bole.h>
#include <bole/bole_vfs.h>
#include <pthread.h>

typedef struct bl_scheduler bl_scheduler;
typedef void (*bl_job)(void *context);
typedef enum bl_priority { BL_PRIORITY_HIGH, BL_PRIORITY_LOW, BL_PRIORITY_COUNT } bl_priority;

/* `threads` >= 1. Thread 0 runs only high priority jobs when there are two or more, so a flush never waits
 * for a merge. Low priority jobs run with a lower OS priority (5 steps nicer than the process, where allowed). */
BOLE_CHECKED bole_status bl_scheduler_create(uint32_t threads, bl_scheduler **out, bole_error *error);
/* `vfs` gives the clock that waits with a time-out look at. */
BOLE_CHECKED bole_status bl_scheduler_simulation_create(uint64_t seed, bole_vfs *vfs, bl_scheduler **out,
                                                        bole_error *error);
/* Waits for running jobs; jobs that were not started are run to their end first. Delayed jobs are dropped. */
void bl_scheduler_destroy(bl_scheduler *scheduler);
bool bl_scheduler_is_simulation(const bl_scheduler *scheduler);

/* Hand over a job. Never fails: the caller embeds the node, which must live until the job has started. */
typedef struct bl_job_node {
    bl_job run;
    void *context;
    struct bl_job_node *next;
    uint64_t due_ns;
} bl_job_node;
void bl_scheduler_submit(bl_scheduler *scheduler, bl_priority priority, bl_job_node *node);
/* Once, after `delay_ns`, at high priority. bl_scheduler_cancel returns true if it had not started. */
void bl_scheduler_submit_after(bl_scheduler *scheduler, uint64_t delay_ns, bl_job_node *node);
bool bl_scheduler_cancel(bl_scheduler *scheduler, bl_job_node *node);

/* A named place where another thread might run. Free in production (one predictable branch). */
void bl_point_simulated(bl_scheduler *scheduler, const char *name);
bool bl_scheduler_simulation_active(const bl_scheduler *scheduler);
static inline void bl_point(bl_scheduler *scheduler, const char *name)
{
    if (__builtin_expect(*(const bool *)(const void *)scheduler, 0)) /* first member: is it a simulation */
        bl_point_simulated(scheduler, name);
}
void bl_point_inside_simulated(bl_scheduler *scheduler, const char *name);
static inline void bl_point_inside(bl_scheduler *scheduler, const char *name)
{
    if (__builtin_expect(*(const bool *)(const void *)scheduler, 0))
        bl_point_inside_simulated(scheduler, name);
}
/* A hash of the order in which the coroutines of a simulation have run, and where they were switched. */
uint64_t bl_scheduler_simulation_path(const bl_scheduler *scheduler);
/* In simulation a sleep lets others run and moves the clock. */
void bl_sleep(bl_scheduler *scheduler, uint64_t nanoseconds);
void bl_yield(bl_scheduler *scheduler); /* give way: sched_yield, or a switch */

/* ---- Locks and conditions that know the scheduler ------------------------------------------------------ */
typedef struct bl_mutex {
    bl_scheduler *scheduler;
    uint32_t generation; /* of the process that made it: a child of fork leaves the system's part alone */
    pthread_mutex_t mutex;
    _Atomic(void *) owner; /* simulation: the coroutine; check builds: the thread */
} bl_mutex;
typedef struct bl_condition {
    bl_scheduler *scheduler;
    uint32_t generation;
    pthread_cond_t condition;
} bl_condition;
void bl_mutex_init(bl_mutex *mutex, bl_scheduler *scheduler);
void bl_mutex_deinit(bl_mutex *mutex);
void bl_mutex_lock(bl_mutex *mutex);
bool bl_mutex_try_lock(bl_mutex *mutex);
void bl_mutex_unlock(bl_mutex *mutex);
void bl_mutex_assert_held(const bl_mutex *mutex);
void bl_condition_init(bl_condition *condition, bl_scheduler *scheduler);
void bl_condition_deinit(bl_condition *condition);
/* Both may wake for nothing: loop on the predicate. wait_for returns false when the time is up. */
void bl_condition_wait(bl_condition *condition, bl_mutex *mutex);
bool bl_condition_wait_for(bl_condition *condition, bl_mutex *mutex, uint64_t nanoseconds);
void bl_condition_wake_all(bl_condition *condition);

#endif
