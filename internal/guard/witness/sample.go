package witness

import (
	"context"
	"time"

	"k8s.io/client-go/rest"
)

// Sample samples an API until ctx ends, as a witness does, and returns for how
// long it was unavailable for new and for kept connections. It watches nothing
// else. Benchmarks use it to compare PAI with other tools.
func Sample(ctx context.Context, cfg *rest.Config) (Counted, error) {
	p, err := newProbeLoop(cfg, &unobservedTime{})
	if err != nil {
		return Counted{}, err
	}
	defer p.close()
	p.run(ctx, &timeline{}, func() string { return "" })
	now := time.Now()
	for _, s := range p.samplers() {
		s.wait()
	}
	return p.counted(now), nil
}
