/* Whether there is a choice between kinds of vectors when the library is used, not when it is compiled. */
#ifndef HEED_PROCESSORS_H
#define HEED_PROCESSORS_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define HEED_X86 1
#else
#define HEED_X86 0
#endif

#endif
