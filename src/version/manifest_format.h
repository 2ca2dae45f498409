/* SPDX-License-Identifier: MIT */
/* manifest_format.h -- what writer and reader of a manifest share (bytes: manifest.c). */
#ifndef BL_VERSION_MANIFEST_FORMAT_H
#define BL_VERSION_MANIFEST_FORMAT_H

#include <stdint.h>

#define BL_MANIFEST_MAGIC "boleMANI"
uint64_t bl_manifest_chain_next(uint64_t seed, uint64_t offset, uint64_t chain, uint64_t checksum);

#endif
