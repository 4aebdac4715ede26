//go:build scale

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// historyJobs is how many jobs the history has.
	historyJobs = 100_000
	// requestsOfFigure is how many requests a figure is made of, and figureTime how long
	// they take at most: a slow one has fewer.
	requestsOfFigure, fewestRequests = 60, 20
	figureTime                       = 3 * time.Second
)

// clusterSizes are how many jobs the cluster has at the same time. A virtual cluster keeps
// its 1,000 newest ended jobs for 30 days, so a busy cluster of four has 4,000.
const clusterSizes = "0,1000,4000"

func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		if err := runServer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestHistoryOf100000Jobs measures what people wait for with 100,000 ended jobs in a file of
// SQLite. The server is another process; the API of the cluster is served by this one.
// It asserts no time, and prints each figure in a line that begins with FIGURE: what it is
// of, how many jobs the cluster has, the 95th percentile in milliseconds, the time of the
// processor that a request takes the server, which does not depend on what else runs, and
// the size of the answer. Variables:
//
//	PAI_SCALE_DIR      keeps the history in a directory for the next run
//	PAI_SCALE_JOBS     has the number of jobs, for a quick try
//	PAI_SCALE_CLUSTER  has how many jobs the cluster has, separated by commas
func TestHistoryOf100000Jobs(t *testing.T) {
	n := number(t, cmp.Or(os.Getenv("PAI_SCALE_JOBS"), strconv.Itoa(historyJobs)))
	dir := os.Getenv("PAI_SCALE_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	fillHistory(t, dir, n)
	for text := range strings.SplitSeq(cmp.Or(os.Getenv("PAI_SCALE_CLUSTER"), clusterSizes), ",") {
		size := number(t, text)
		t.Run(fmt.Sprintf("cluster of %d", size), func(t *testing.T) {
			api := newAPI(t, size)
			recordCluster(t, api, dir)
			s := startServer(t, api, dir)
			printStart(s, size)
			fmt.Printf("FIGURE memory %d %.1f MB the server has started\n", size, s.memory(t, "VmHWM"))
			all := questions(n)
			if size > 0 { // what the cluster adds to a list is the same for all of them
				all = slices.DeleteFunc(all, func(q question) bool { return !q.alsoWithCluster })
			}
			for _, q := range all {
				measure(t, s, size, q)
			}
			measureTogether(t, s, size, all)
			fmt.Printf("FIGURE memory %d %.1f MB the most, after all of the above\n", size, s.memory(t, "VmHWM"))
		})
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// measure asks a question again and again.
func measure(t *testing.T, s *server, size int, q question) {
	t.Helper()
	var took []time.Duration
	bytes, start, worked := 0, time.Now(), time.Duration(0)
	for i := range requestsOfFigure + 1 {
		if len(took) >= fewestRequests && time.Since(start) > figureTime {
			break
		}
		began := time.Now()
		bytes = s.ask(t.Context(), t, q.token, q.path(i))
		if i == 0 { // it fills caches
			worked = s.worked(t)
			continue
		}
		took = append(took, time.Since(began))
	}
	each := (s.worked(t) - worked) / time.Duration(len(took))
	fmt.Printf("FIGURE time %d %.1f ms %s (%.1f ms of the processor, %d KB)\n", size, milliseconds(percentile(took, 95)), q.name, milliseconds(each), bytes/1000)
}

// measureTogether lets four people ask everything at the same time.
func measureTogether(t *testing.T, s *server, size int, all []question) {
	t.Helper()
	const people = 4
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	results := make(chan time.Duration, 1000)
	for p := range people {
		go func() {
			for i := range 2 * len(all) {
				q := all[(i*people+p*7)%len(all)]
				began := time.Now()
				s.ask(ctx, t, q.token, q.path(i*people+p))
				results <- time.Since(began)
			}
			results <- -1
		}()
	}
	var took []time.Duration
	for left := people; left > 0; {
		if d := <-results; d < 0 {
			left--
		} else {
			took = append(took, d)
		}
	}
	fmt.Printf("FIGURE time %d %.1f ms four people ask all of the above at the same time (median %.1f ms)\n",
		size, milliseconds(percentile(took, 95)), milliseconds(percentile(took, 50)))
}

// percentile is the smallest duration that so many percent of all do not exceed.
func percentile(all []time.Duration, percent int) time.Duration {
	slices.Sort(all)
	return all[(len(all)*percent+99)/100-1]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
