/* The unit suite: one program, so that every compiler and target needs one compilation. The implementation is
   included here, so tests can see private functions too. Run with a word to select tests by name. */
#if defined(__unix__) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L     /* clock_gettime, fsync */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#ifdef TEST_ASSERT
#define IPR_ASSERT(x) ((x) ? (void)0 : abort())
#endif
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include "ipr_test.h"
#include "test_base.c"
#include "test_stats.c"
#include "test_vec.c"
#include "test_gemm.c"
#include "test_core.c"
#include "test_rnn.c"
#include "test_conv.c"
#include "test_golden.c"
#include "test_norm.c"
#include "test_files.c"
#include "test_data.c"
#include "test_text.c"
#include "test_images.c"
#include "test_train.c"
#include "test_gatekeeper.c"
#include "test_s2s.c"
#include "test_triggers.c"
#include "test_cnn.c"
#include "test_passports.c"
#include "test_dsn.c"

int main(int argc, char **argv)
{
    ipr_test_init(argc, argv);
    SUITE(base);
    SUITE(stats);
    SUITE(vec);
    SUITE(gemm);
    SUITE(core);
    SUITE(rnn);
    SUITE(conv);
    SUITE(golden);
    SUITE(norm);
    SUITE(files);
    SUITE(data);
    SUITE(text);
    SUITE(images);
    SUITE(train);
    SUITE(gatekeeper);
    SUITE(s2s);
    SUITE(triggers);
    SUITE(cnn);
    SUITE(passports);
    SUITE(dsn);
    return ipr_test_main_summary();
}
