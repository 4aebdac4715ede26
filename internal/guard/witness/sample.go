package witness

import (
	"context"
	"time"

	"k8s.io/client-go/rest"
)

// Sample asks an API, as a witness does, whether it answers, until ctx ends,
// and returns for how long it did not: with new and with kept connections.
// It watches nothing else. It is for comparing PAI with others.
func Sample(ctx context.Context, cfg *rest.Config) (Counted, error) {
	p, err := newPulse(cfg, &darkness{})
	if err != nil {
		return Counted{}, err
	}
	defer p.close()
	p.run(ctx, &timeline{}, func() string { return "" })
	now := time.Now()
	for _, s := range p.samplers() {
		s.wait()
	}
	counted := p.counted(now)
	counted.UnobservedSeconds = p.dark.sum(now).Seconds()
	return counted, nil
}
