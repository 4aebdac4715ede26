package history

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
)

// BenchmarkHistory measures the requests of people with 100,000 recorded jobs; the
// cluster has 1,000 of them. Its figures are the 95th percentile in milliseconds and the
// memory of the program:
//
//	go test ./internal/history -run '^$' -bench History -benchtime 100x -cpu 2
func BenchmarkHistory(b *testing.B) {
	const jobs, inCluster = 100_000, 1000
	for name, open := range map[string]func() (*Store, error){
		"sqlite":     func() (*Store, error) { return OpenSQLite(b.Context(), b.TempDir(), 8<<30) },
		"postgresql": func() (*Store, error) { return OpenPostgreSQL(b.Context(), newDatabase(b)) },
	} {
		b.Run(name, func(b *testing.B) {
			s, err := open()
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			living := fill(b, s, jobs, inCluster)
			list := func(q Query) func(context.Context) error {
				return func(ctx context.Context) error { _, _, err := s.List(ctx, q, living); return err }
			}
			for _, c := range []struct {
				name string
				do   func(context.Context) error
			}{
				{"list", list(Query{Limit: 20})},
				{"list-of-user", list(Query{Limit: 20, Users: []string{"ada"}})},
				{"list-whole", list(Query{Limit: 5000})},
				{"page-in-the-middle", list(Query{Limit: 20, Offset: jobs / 2})},
				{"filter", list(Query{Limit: 20, States: []string{"FAILED"}, VirtualClusters: []string{"research"}, Tags: []string{"b c"}})},
				{"search", list(Query{Limit: 20, Keyword: "_9999"})},
				{"order-by-end", list(Query{Limit: 20, Order: ByEnded, Descending: true})},
				{"order-by-name", list(Query{Limit: 20, Order: ByName})},
				{"show", func(ctx context.Context) error {
					sum, err := s.Find(ctx, living[0].JobRef)
					if err == nil {
						_, err = s.Status(ctx, sum)
					}
					return err
				}},
			} {
				b.Run(c.name, func(b *testing.B) {
					var took []time.Duration
					for b.Loop() {
						start := time.Now()
						if err := c.do(b.Context()); err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(start))
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					b.ReportMetric(float64(m.Sys-m.HeapReleased)/1e6, "MB")
				})
			}
		})
	}
}

func fill(b *testing.B, s *Store, n, inCluster int) (living []Summary) {
	b.Helper()
	all := manyJobs(n)
	for i, j := range all {
		if i < inCluster {
			living = append(living, Summarize(j))
		}
	}
	for chunk := range slices.Chunk(all, 1000) {
		records := make([]Record, len(chunk))
		for i, j := range chunk {
			records[i] = Record{Status: j, Observed: start, Protocol: fmt.Appendf(nil, "name: %s\n%01000d", j.Name, i)}
		}
		put(b, s, records...)
	}
	return living
}
