package rest

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// metrics counts requests, in the text format that Prometheus reads. Everybody
// who can reach the server may read it, so it says nothing of users and jobs:
// a request counts under its route, "/api/v2/jobs/{id}".
type metrics struct {
	mu       sync.Mutex
	inFlight int
	requests map[requestKey]*requestCount
}

type requestKey struct {
	method, route string
	code          int
}

type requestCount struct {
	count   uint64
	seconds float64
	buckets []uint64 // one per metricBuckets, not cumulative
}

// metricBuckets are upper bounds in seconds.
var metricBuckets = []float64{0.01, 0.05, 0.25, 1, 5, 30}

func (m *metrics) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight++
}

func (m *metrics) end(key requestKey, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight--
	if m.requests == nil {
		m.requests = map[requestKey]*requestCount{}
	}
	r := m.requests[key]
	if r == nil {
		r = &requestCount{buckets: make([]uint64, len(metricBuckets))}
		m.requests[key] = r
	}
	r.count++
	r.seconds += took.Seconds()
	if i, _ := slices.BinarySearch(metricBuckets, took.Seconds()); i < len(metricBuckets) {
		r.buckets[i]++
	}
}

func (m *metrics) write(w io.Writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(w, "# HELP pai_rest_requests_in_flight Requests that are being answered.\n# TYPE pai_rest_requests_in_flight gauge\npai_rest_requests_in_flight %d\n", m.inFlight)
	fmt.Fprint(w, "# HELP pai_rest_request_seconds Time that requests took.\n# TYPE pai_rest_request_seconds histogram\n")
	keys := slices.SortedFunc(maps.Keys(m.requests), func(a, b requestKey) int {
		return cmp.Or(cmp.Compare(a.route, b.route), cmp.Compare(a.method, b.method), cmp.Compare(a.code, b.code))
	})
	for _, k := range keys {
		r := m.requests[k]
		labels := fmt.Sprintf(`method=%q,route=%q,code="%d"`, k.method, k.route, k.code)
		total := uint64(0)
		for i, bound := range metricBuckets {
			total += r.buckets[i]
			fmt.Fprintf(w, "pai_rest_request_seconds_bucket{%s,le=%q} %d\n", labels, strconv.FormatFloat(bound, 'g', -1, 64), total)
		}
		fmt.Fprintf(w, "pai_rest_request_seconds_bucket{%s,le=\"+Inf\"} %d\n", labels, r.count)
		fmt.Fprintf(w, "pai_rest_request_seconds_sum{%s} %g\npai_rest_request_seconds_count{%s} %d\n", labels, r.seconds, labels, r.count)
	}
}
