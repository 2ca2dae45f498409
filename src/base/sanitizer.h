/* SPDX-License-Identifier: MIT */
/* sanitizer.h -- which sanitizer is this file compiled with? (gcc and clang say it in two ways) */
#ifndef BL_BASE_SANITIZER_H
#define BL_BASE_SANITIZER_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BL_ADDRESS_SANITIZER 1
#endif
#if __has_feature(thread_sanitizer)
#define BL_THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(BL_ADDRESS_SANITIZER)
#define BL_ADDRESS_SANITIZER 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(BL_THREAD_SANITIZER)
#define BL_THREAD_SANITIZER 1
#endif

#endif
