package plan

import (
	"fmt"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Text formats a plan: its hops, and for each one its steps with their risk and
// the running jobs that they can affect.
func Text(p Plan, impact map[StepID][]pai.JobRef) string {
	var b strings.Builder
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", n)
	}
	if p.Empty() {
		fmt.Fprintf(&b, "Nothing to do: %s.\n", describe(p.From))
		return b.String()
	}
	fmt.Fprintf(&b, "From %s\n", describe(p.From))
	if p.To != p.From {
		fmt.Fprintf(&b, "  to %s\n", describe(p.To))
	}
	fmt.Fprintf(&b, "%s, %s\n", count(len(p.Hops), "hop"), count(len(p.Steps), "step"))

	b.WriteString(gapsText(p))
	phase, hop := "", 0
	for _, s := range p.Steps {
		if s.Phase != phase {
			phase = s.Phase
			fmt.Fprintf(&b, "\n%s\n", heading(p.Hops, phase, &hop))
		}
		writeStep(&b, s, impact[s.ID])
	}
	return b.String()
}

func writeStep(b *strings.Builder, s Step, jobs []pai.JobRef) {
	move := ""
	switch {
	case s.Wipe:
		move = "deletes its data"
	case s.From != "" && s.To != "" && s.From != s.To:
		move = fmt.Sprintf("%s → %s", s.From, s.To)
		if s.Emulate != "" {
			move += " as " + s.Emulate
		}
	case s.To != "":
		move = string(s.To)
	}
	if len(s.Differs) > 0 {
		move += ", other " + strings.Join(s.Differs, " and ")
	}
	line := fmt.Sprintf("  %-44s %-22s %s", strings.TrimPrefix(string(s.ID), s.Phase+"/"), move, riskText(s.Risk))
	fmt.Fprintln(b, strings.TrimRight(line, " "))
	for _, j := range jobs {
		fmt.Fprintf(b, "      can affect %s\n", j)
	}
}

// heading names a phase as the hop that it is, or as what is done besides.
func heading(hops []Hop, phase string, next *int) string {
	for i := *next; i < len(hops); i++ {
		if h := hops[i]; phase == string(h.Kind)+"/"+string(h.To) {
			*next = i + 1
			return fmt.Sprintf("Hop %d of %d: %s %s → %s", i+1, len(hops), h.Kind.noun(), h.From, h.To)
		}
	}
	part, version, versioned := strings.Cut(phase, "/")
	if part == "" {
		return "Steps"
	}
	if versioned {
		return HopKind(part).noun() + " " + version
	}
	return strings.ToUpper(part[:1]) + part[1:]
}

func (k HopKind) noun() string {
	if k == HopKubernetes {
		return "Kubernetes"
	}
	return "Services"
}

func riskText(r pai.Risk) string {
	if r == pai.RiskNone {
		return ""
	}
	return "risk: " + string(r)
}

func describe(p pai.Pair) string {
	services, kubernetes := "no services", "no Kubernetes"
	if p.Services != "" {
		services = "services " + string(p.Services)
	}
	if p.Kubernetes != "" {
		kubernetes = "Kubernetes " + string(p.Kubernetes)
	}
	return services + " on " + kubernetes
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
