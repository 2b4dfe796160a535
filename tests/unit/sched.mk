# Unit tests of area 'sched': the scheduler.
