//go:build e2e

package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
)

// sampler asks the API over and over, and keeps how long it did not answer.
type sampler struct {
	what          string
	asked, failed int
	gap           time.Duration
	gapAt         time.Time
	errs          map[string]int
}

func (s *sampler) String() string {
	return fmt.Sprintf("%-26s %4d asked, %d failed, longest gap %.2f s at %s %v", s.what, s.asked, s.failed, s.gap.Seconds(), s.gapAt.Format("05.00"), s.errs)
}

// sample starts samplers of the API; the result ends and returns them.
func (d *driver) sample() func() []*sampler {
	ctx, cancel := context.WithCancel(d.t.Context())
	m := d.cfg.Master()
	data, err := cluster.AdminKubeconfig(ctx, d.hosts[m.Hostname], m.HostIP)
	if err != nil {
		d.t.Fatal(err)
	}
	k, err := kube.FromKubeconfig(data)
	if err != nil {
		d.t.Fatal(err)
	}
	config := k.RESTConfig()
	var wg sync.WaitGroup
	var all []*sampler
	for _, path := range []string{"/readyz", "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"} {
		for _, kept := range []bool{false, true} {
			s := &sampler{what: fmt.Sprintf("%.20s kept=%v", path, kept), errs: map[string]int{}}
			all = append(all, s)
			wg.Go(func() { s.run(ctx, config, path, kept) })
		}
	}
	return func() []*sampler {
		cancel()
		wg.Wait()
		return all
	}
}

func (s *sampler) run(ctx context.Context, config *rest.Config, path string, kept bool) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		panic(err)
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: !kept, ForceAttemptHTTP2: true}}
	last := time.Now()
	for ctx.Err() == nil {
		s.asked++
		resp, err := client.Get(config.Host + path)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s", resp.Status)
			}
		}
		if err != nil {
			s.failed++
			s.errs[err.Error()]++
		} else {
			now := time.Now()
			if gap := now.Sub(last); gap > s.gap {
				s.gap, s.gapAt = gap, now
			}
			last = now
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// containers lists what runs on the machines: name, id and start of each container.
func (d *driver) containers() map[string]string {
	found := map[string]string{}
	for n, h := range d.hosts {
		out, err := h.Run(d.t.Context(), machine.Command{Script: "/opt/pai/role/containerd/bin/ctr -n k8s.io tasks ls | awk '$3==\"RUNNING\"{print $1, $2}'"})
		if err != nil {
			d.t.Fatal(err)
		}
		found[n] = out.Stdout
	}
	return found
}

func TestHopWithProbes(t *testing.T) {
	d := newDriver(t)
	before := d.containers()
	stop := d.sample()
	begin := time.Now()
	d.kubernetes(v010(), "v0.9-pai")
	took := time.Since(begin)
	time.Sleep(time.Second)
	for _, s := range stop() {
		d.log("%s", s)
	}
	d.log("hop took %.1f s", took.Seconds())
	d.log("containers before:\n%v\nafter:\n%v", before, d.containers())
	d.observe()
}
