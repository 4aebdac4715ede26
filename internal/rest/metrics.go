package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts requests. Prometheus and its readers see it, so it contains no users
// and jobs: a request counts for its route, such as "/api/v2/jobs/{id}".
type metrics struct {
	http.Handler
	inFlight prometheus.Gauge
	seconds  *prometheus.HistogramVec
}

// newMetrics returns the metrics of a server. lastRecorded returns the time of the last pass
// in which the server wrote all jobs into the history; it is nil in a server without one.
func newMetrics(lastRecorded func() time.Time) metrics {
	m := metrics{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pai_rest_requests_in_flight", Help: "Requests in progress.",
		}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pai_rest_request_seconds", Help: "Duration of requests.",
			Buckets: []float64{0.01, 0.05, 0.25, 1, 5, 30},
		}, []string{"method", "route", "code"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.inFlight, m.seconds)
	if lastRecorded != nil {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pai_rest_history_recorded_timestamp_seconds", Help: "When this server last recorded all jobs in the history.",
		}, func() float64 { return float64(lastRecorded().UnixMilli()) / 1000 }))
	}
	m.Handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

func (m metrics) observe(req *http.Request, code int, took time.Duration) {
	m.seconds.WithLabelValues(methodOf(req), routeOf(req), strconv.Itoa(code)).Observe(took.Seconds())
}

// withMetricsPassword refuses requests without the password of the metrics.
func (h *Handler) withMetricsPassword(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(h.MetricsPassword))
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, password, _ := req.BasicAuth()
		got := sha256.Sum256([]byte(password))
		if h.MetricsPassword == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="metrics"`)
			http.Error(w, "the metrics need a login", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, req)
	})
}
