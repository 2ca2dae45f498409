/* SPDX-License-Identifier: MIT */
/* scheduler_sim.h -- the simulation behind scheduler.h; called by scheduler.c alone. */
#ifndef BL_PLATFORM_SCHEDULER_SIM_H
#define BL_PLATFORM_SCHEDULER_SIM_H

#include "platform/scheduler.h"

struct bl_scheduler {
    bool simulated; /* first: bl_point reads it through the pointer */
};

void bl_simulation_destroy(bl_scheduler *scheduler);
void bl_simulation_submit(bl_scheduler *scheduler, bl_job_node *node);
void bl_simulation_submit_after(bl_scheduler *scheduler, uint64_t delay_ns, bl_job_node *node);
bool bl_simulation_cancel(bl_scheduler *scheduler, bl_job_node *node);
void bl_simulation_sleep(bl_scheduler *scheduler, uint64_t nanoseconds);
void bl_simulation_yield(bl_scheduler *scheduler);
void bl_simulation_lock(bl_mutex *mutex);
bool bl_simulation_try_lock(bl_mutex *mutex);
void bl_simulation_unlock(bl_mutex *mutex);
bool bl_simulation_holds(const bl_mutex *mutex);
/* `nanoseconds` UINT64_MAX: for ever. Returns false when the time is up. */
bool bl_simulation_wait(bl_condition *condition, bl_mutex *mutex, uint64_t nanoseconds);
void bl_simulation_wake_all(bl_condition *condition);

#endif
