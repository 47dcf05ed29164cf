/* seeds.c DIR: one valid file of every format that ipr.h reads, made by ipr.h itself: what the fuzzers start from. */
#include <stdio.h>
#define IPR_IMPLEMENTATION
#include "ipr.h"

static const char *seeds_dir;

static void seeds_put(ipr_ctx *c, ipr_writer *w, const char *name)
{
    char path[512];
    if (snprintf(path, sizeof path, "%s/%s", seeds_dir, name) >= (int)sizeof path) return;
    ipr_writer_commit(w);
    ipr_file_write(c, path, ipr_writer_data(w), (size_t)ipr_writer_bytes(w), 0);
    ipr_writer_close(w);
}

static void seeds_safetensors(ipr_ctx *c)
{
    ipr_params *p = ipr_params_new(c);
    ipr_pair pair[1] = { { "made by", "seeds.c \"quoted\" \\ \n" } };
    ipr_meta meta;
    ipr_index d[2] = { 2, 2 };
    ipr_writer w;
    meta.pairs = pair;
    meta.count = 1;
    ipr_param(p, "a", 2, d);
    ipr_dense_new(p, "dense", 3, 2, 1);
    ipr_writer_memory(c, &w);
    ipr_params_write(p, &w, &meta);
    seeds_put(c, &w, "params.safetensors");
    ipr_params_free(p);
}

static void seeds_npy(ipr_ctx *c)
{
    ipr_index d[2] = { 2, 3 };
    ipr_array a;
    ipr_writer w;
    ipr_writer_memory(c, &w);
    ipr_array_of(c, ipr_new(c, 2, d), "x", &a);
    ipr_npy_write(&w, &a);
    ipr_array_of(c, ipr_new_i32(c, 1, d), "y", &a);
    ipr_npy_write(&w, &a);
    seeds_put(c, &w, "two.npy");
}

static void seeds_json(ipr_ctx *c)
{
    ipr_json j;
    ipr_writer w;
    ipr_writer_memory(c, &w);
    ipr_json_begin(&j, &w, 1);
    ipr_json_object(&j, NULL);
    ipr_json_str(&j, "text", "a\n\"\\\xc3\xa9</script>");
    ipr_json_array(&j, "numbers");
    ipr_json_num(&j, NULL, -1.5e-300);
    ipr_json_int(&j, NULL, INT64_MIN);
    ipr_json_fixed(&j, NULL, 98.18, 2);
    ipr_json_end(&j);
    ipr_json_bool(&j, "yes", 1);
    ipr_json_null(&j, "none");
    ipr_json_end(&j);
    ipr_json_finish(&j);
    seeds_put(c, &w, "all.json");
}

static void seeds_images(ipr_ctx *c)
{
    static const uint8_t px[12] = { 0, 1, 2, 3, 100, 101, 102, 103, 250, 251, 252, 255 };
    static const char plain[] = "P5 # a comment\n3 2\n15\n\1\2\3\4\5\6";
    ipr_image im = IPR_ZERO;
    ipr_writer w;
    im.width = 2; im.height = 2; im.channels = 3; im.px = px;
    ipr_writer_memory(c, &w);
    ipr_image_write(&w, &im);
    seeds_put(c, &w, "colour.ppm");
    ipr_writer_memory(c, &w);
    ipr_writer_write(&w, plain, sizeof plain - 1);
    seeds_put(c, &w, "grey.pgm");
}

static void seeds_idx(ipr_ctx *c)       /* two images of 2 x 2, a 0xff byte, their labels: as fuzz_idx.c takes them */
{
    static const uint8_t both[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8,
                                    0xff, 0, 0, 8, 1, 0, 0, 0, 2, 0, 1 };
    ipr_writer w;
    ipr_writer_memory(c, &w);
    ipr_writer_write(&w, both, sizeof both);
    seeds_put(c, &w, "pair.idx");
}

static void seeds_text(ipr_ctx *c)      /* the first two bytes: as fuzz_text.c takes them */
{
    static const char *const files[] = { "\x1e.TREC:x What is \xe9 ?\r\nNUM:y 3\n", "<\x01""1,\"a \"\"b\"\"\n\"\n2,\"<br />\"\n",
                                         "\x3d\x10""1\ta b\\n\n2\tc\n", "\x1f\x22(3 (2 It) (4 (2 's) (1 -LRB-)))\n",
                                         "\x1e\x24 \xc3\x89t\xc3\xa9 don't <b>x</b>\n\n", "3 2\none 1 2\ntwo -1e3 .5\n" };
    static const char text[] = "a b b c\n";
    ipr_reader r;
    const ipr_texts *list[1];
    ipr_writer w;
    char name[] = "text0.txt";
    size_t i;
    for (i = 0; i < sizeof files / sizeof *files; i++, name[4]++) {
        ipr_writer_memory(c, &w);
        ipr_writer_text(&w, files[i]);
        seeds_put(c, &w, name);
    }
    ipr_reader_memory(c, &r, text, sizeof text - 1);
    list[0] = ipr_texts_read(&r, NULL);
    ipr_writer_memory(c, &w);
    ipr_vocab_write(ipr_vocab_build(c, NULL, list, 1), &w);
    seeds_put(c, &w, "vocab.json");
}

static void seeds_cifar(ipr_ctx *c)     /* the first byte: as fuzz_cifar.c takes it */
{
    static const uint8_t zero[512];
    ipr_writer w;
    char name[] = "cifar0.bin";
    int format, i;
    for (format = 0; format < 3; format++, name[5]++) {
        const uint8_t head[3] = { (uint8_t)format, 9, 19 };
        ipr_writer_memory(c, &w);
        ipr_writer_write(&w, head, format ? 3 : 2);
        for (i = 0; i < 6; i++) ipr_writer_write(&w, zero, sizeof zero);
        seeds_put(c, &w, name);
    }
    ipr_writer_memory(c, &w);
    ipr_writer_text(&w, "\3Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n00000.ppm;53;54;6;5;48;49;16\r\n");
    seeds_put(c, &w, "gtsrb.csv");
}

static void seeds_passports(ipr_ctx *c)
{
    ipr_cnn_desc d = IPR_ZERO;
    ipr_passport_desc pd = IPR_ZERO;
    ipr_uchida_desc ud = IPR_ZERO;
    ipr_cnn *m;
    char path[512];
    d.arch = IPR_LENET;
    d.height = d.width = 16;
    m = ipr_cnn_new(c, &d);
    pd.units = 1; /* 6 filters of 5 x 5 on 1 x 16 x 16 */
    ud.unit = "conv1";
    ud.bits = 8;
    if (snprintf(path, sizeof path, "%s/passport.safetensors", seeds_dir) < (int)sizeof path)
        ipr_passport_save(ipr_passport_new(m, &pd, "sixteen byte key", 16), path);
    if (snprintf(path, sizeof path, "%s/licence.safetensors", seeds_dir) < (int)sizeof path)
        ipr_passport_save_licence(ipr_passport_new(m, &pd, "sixteen byte key", 16), path);
    if (snprintf(path, sizeof path, "%s/uchida.safetensors", seeds_dir) < (int)sizeof path)
        ipr_uchida_save(ipr_uchida_new(m, &ud, "sixteen byte key", 16), path);
}

int main(int argc, char **argv)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    int status;
    if (argc != 2 || !c) { printf("usage: seeds DIR\n"); return 2; }
    seeds_dir = argv[1];
    seeds_safetensors(c);
    seeds_npy(c);
    seeds_json(c);
    seeds_images(c);
    seeds_idx(c);
    seeds_text(c);
    seeds_cifar(c);
    seeds_passports(c);
    status = ipr_status(c);
    if (status) printf("%s\n", ipr_message(c));
    ipr_close(c);
    return status != IPR_OK;
}
