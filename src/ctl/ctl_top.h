/* ctl_top.h - `tollctl top`: a view that renews itself. */
#ifndef TG_CTL_CTL_TOP_H
#define TG_CTL_CTL_TOP_H

#include "ctl/ctl_io.h"

/* Show numbers every second until q, ^C or the daemon's end; when stdout is no
 * terminal, one frame of a second and done. */
enum ctl_exit ctl_top(struct ctl_conn *c);

#endif
