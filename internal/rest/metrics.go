package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts requests. Everyone who can reach the server can read it, so it
// contains no users and jobs: a request counts for its route, such as
// "/api/v2/jobs/{id}".
type metrics struct {
	http.Handler
	inFlight prometheus.Gauge
	seconds  *prometheus.HistogramVec
}

func newMetrics() metrics {
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
	m.Handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

func (m metrics) observe(req *http.Request, code int, took time.Duration) {
	m.seconds.WithLabelValues(methodOf(req), routeOf(req), strconv.Itoa(code)).Observe(took.Seconds())
}
