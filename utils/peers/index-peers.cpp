// The rivals of the graph, in one process: hnswlib, and faiss by its factory
// strings. utils/peers/index-peers builds it.
//
// usage: peers DIR cosine|l2 [ROWS] PEER...
//
//   DIR   meta.json, base.f32 and query.f32 as docs/benchmark-tool.md says
//   ROWS  of them, the first; 0: all
//   PEER  "hnswlib", or for example HNSW16,Flat or IVF512,PQ50x4fs,RFlat
//
// One line per parameter: recall@10, processor time per query, one query at a
// time on one thread, the best of several rounds (ROUNDS), and per index the
// time it took two threads to build. Truth is found here, by faiss's flat index.
#include <faiss/AutoTune.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexRefine.h>
#include <faiss/index_factory.h>
#include <hnswlib/hnswlib.h>
#include <omp.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr int K = 10;

struct Data {
    int dim = 0;
    size_t n = 0, nq = 0;
    bool cosine = false;
    std::vector<float> base, query;
    std::vector<faiss::Index::idx_t> truth;
};

using Search = std::function<void(const float *query, faiss::Index::idx_t *found)>;

double seconds(clockid_t clock)
{
    timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

std::vector<float> read_floats(const std::string &path)
{
    std::ifstream f(path, std::ios::binary | std::ios::ate);

    if (!f) {
        fprintf(stderr, "cannot read %s\n", path.c_str());
        exit(1);
    }
    std::vector<float> v((size_t)f.tellg() / sizeof(float));
    f.seekg(0);
    f.read((char *)v.data(), (std::streamsize)(v.size() * sizeof(float)));
    return v;
}

void normalise(std::vector<float> &v, int dim)
{
    for (size_t i = 0; i < v.size(); i += (size_t)dim) {
        double sum = 0;

        for (int j = 0; j < dim; j++) {
            sum += (double)v[i + j] * v[i + j];
        }
        for (int j = 0; j < dim && sum > 0; j++) {
            v[i + j] = (float)(v[i + j] / std::sqrt(sum));
        }
    }
}

void load(Data &d, const std::string &dir, size_t rows)
{
    std::ifstream f(dir + "/meta.json");
    std::string meta((std::istreambuf_iterator<char>(f)), {});
    size_t at = meta.find("\"dim\"");

    d.dim = at == std::string::npos
                ? 0
                : atoi(meta.c_str() + meta.find(':', at) + 1);
    if (d.dim < 1) {
        fprintf(stderr, "no dimension in %s/meta.json\n", dir.c_str());
        exit(1);
    }
    d.base = read_floats(dir + "/base.f32");
    d.query = read_floats(dir + "/query.f32");
    d.n = d.base.size() / (size_t)d.dim;
    d.n = rows && rows < d.n ? rows : d.n;
    d.base.resize(d.n * (size_t)d.dim);
    d.nq = std::min<size_t>(d.query.size() / (size_t)d.dim, 1000);
    d.query.resize(d.nq * (size_t)d.dim);
    if (d.cosine) {
        normalise(d.base, d.dim);
        normalise(d.query, d.dim);
    }
}

faiss::MetricType metric_of(const Data &d)
{
    return d.cosine ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2;
}

void find_truth(Data &d)
{
    faiss::IndexFlat flat(d.dim, metric_of(d));
    std::vector<float> keys(d.nq * K);

    d.truth.resize(d.nq * K);
    flat.add((faiss::Index::idx_t)d.n, d.base.data());
    flat.search((faiss::Index::idx_t)d.nq, d.query.data(), K, keys.data(),
                d.truth.data());
}

void measure(const Data &d, const char *peer, const std::string &parameter,
             const Search &search)
{
    const char *text = getenv("ROUNDS");
    int rounds = text ? atoi(text) : 7;
    std::vector<faiss::Index::idx_t> found(d.nq * K, -1);
    double best = INFINITY;
    size_t hits = 0;

    omp_set_num_threads(1);
    for (int round = 0; round < rounds; round++) {
        double began = seconds(CLOCK_THREAD_CPUTIME_ID);

        for (size_t i = 0; i < d.nq; i++) {
            search(&d.query[i * (size_t)d.dim], &found[i * K]);
        }
        best = std::min(best, seconds(CLOCK_THREAD_CPUTIME_ID) - began);
    }
    for (size_t i = 0; i < found.size(); i++) {
        const faiss::Index::idx_t *truth = &d.truth[i / K * K];

        hits += std::find(truth, truth + K, found[i]) != truth + K;
    }
    printf("%-28s %-16s recall %.4f  %8.1f us\n", peer, parameter.c_str(),
           (double)hits / (double)found.size(),
           best * 1e6 / (double)d.nq);
    fflush(stdout);
}

/* Says how long building took from its construction on. */
class Stopwatch
{
  public:
    void stop(const Data &d, const char *peer) const
    {
        double wall = seconds(CLOCK_MONOTONIC) - wall_;
        double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_;

        printf("%-28s built in %.2f s by 2, %.0f rows/s, %.1f us of processor "
               "time a row\n",
               peer, wall, (double)d.n / wall, cpu * 1e6 / (double)d.n);
        fflush(stdout);
    }

  private:
    double wall_ = seconds(CLOCK_MONOTONIC);
    double cpu_ = seconds(CLOCK_PROCESS_CPUTIME_ID);
};

const std::vector<int> &efforts()
{
    static const std::vector<int> v = {10,  16,  24,  32,  48,  64,  96,
                                       128, 192, 256, 384, 512, 800};
    return v;
}

void run_hnswlib(const Data &d)
{
    std::unique_ptr<hnswlib::SpaceInterface<float>> space;

    if (d.cosine) {
        space.reset(new hnswlib::InnerProductSpace((size_t)d.dim));
    } else {
        space.reset(new hnswlib::L2Space((size_t)d.dim));
    }
    hnswlib::HierarchicalNSW<float> h(space.get(), d.n, 16, 200);
    Stopwatch watch;

    omp_set_num_threads(2);
#pragma omp parallel for schedule(dynamic, 64)
    for (size_t i = 0; i < d.n; i++) {
        h.addPoint(&d.base[i * (size_t)d.dim], i);
    }
    watch.stop(d, "hnswlib");
    for (int ef : efforts()) {
        h.setEf((size_t)ef);
        measure(d, "hnswlib", "ef=" + std::to_string(ef),
                [&](const float *q, faiss::Index::idx_t *found) {
                    auto best = h.searchKnn(q, K);

                    for (; !best.empty(); best.pop()) {
                        *found++ = (faiss::Index::idx_t)best.top().second;
                    }
                });
    }
}

void run_ivf(const Data &d, const char *peer, faiss::IndexIVF *ivf,
             faiss::IndexRefine *refine, const Search &search)
{
    const std::vector<int> factors =
        refine ? std::vector<int>{4, 10, 30} : std::vector<int>{1};

    for (size_t probes = 2; probes <= 256 && probes <= ivf->nlist;
         probes *= 2) {
        for (int factor : factors) {
            ivf->nprobe = probes;
            if (refine) {
                refine->k_factor = (float)factor;
            }
            measure(d, peer,
                    "np=" + std::to_string(probes) +
                        ",kf=" + std::to_string(factor),
                    search);
        }
    }
}

void run_faiss(const Data &d, const char *peer)
{
    std::unique_ptr<faiss::Index> index(
        faiss::index_factory(d.dim, peer, metric_of(d)));
    auto *refine = dynamic_cast<faiss::IndexRefine *>(index.get());
    faiss::Index *inner = refine ? refine->base_index : index.get();
    auto *hnsw = dynamic_cast<faiss::IndexHNSW *>(inner);
    auto *ivf = dynamic_cast<faiss::IndexIVF *>(inner);
    Search search = [&](const float *q, faiss::Index::idx_t *found) {
        float keys[K];

        index->search(1, q, K, keys, found);
    };
    Stopwatch watch;

    if (hnsw) {
        hnsw->hnsw.efConstruction = 200;
    }
    omp_set_num_threads(2);
    index->train((faiss::Index::idx_t)d.n, d.base.data());
    index->add((faiss::Index::idx_t)d.n, d.base.data());
    watch.stop(d, peer);
    if (hnsw) {
        for (int ef : efforts()) {
            hnsw->hnsw.efSearch = ef;
            measure(d, peer, "ef=" + std::to_string(ef), search);
        }
    } else if (ivf) {
        run_ivf(d, peer, ivf, refine, search);
    } else {
        measure(d, peer, "", search);
    }
}

} // namespace

int main(int argc, char **argv)
{
    Data d;
    int first = 3;

    if (argc < 4) {
        fprintf(stderr, "usage: peers DIR cosine|l2 [ROWS] PEER...\n");
        return 1;
    }
    d.cosine = strcmp(argv[2], "cosine") == 0;
    if (strspn(argv[3], "0123456789") == strlen(argv[3])) {
        first = 4;
    }
    load(d, argv[1], first == 4 ? (size_t)atol(argv[3]) : 0);
    find_truth(d);
    for (int i = first; i < argc; i++) {
        if (strcmp(argv[i], "hnswlib") == 0) {
            run_hnswlib(d);
        } else {
            run_faiss(d, argv[i]);
        }
    }
    return 0;
}
