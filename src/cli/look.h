/* SPDX-License-Identifier: MIT */
/* look.h -- the JSON of a store's insides, for the commands and the visualizer. The caller owns what is returned. */
#ifndef BOLE_CLI_LOOK_H
#define BOLE_CLI_LOOK_H

#include "cli/cli.h"

json_t *look_stats(const bole_statistics *statistics);
json_t *look_segments(invocation *cli, bole_status *status);

#endif
