package inspect

import (
	"context"
	"path"
	"strings"

	"pai.dev/pai/internal/layout"
)

// versions reports what the requested programs, and those of the requested roles,
// print as their version. A program that does not exist is absent.
func (i *inspection) versions(ctx context.Context) error {
	i.report.Versions = map[string]string{}
	programs := i.request.Programs
	for _, r := range i.request.Only {
		if program := i.report.Roles[r].MainProgram(r); program != "" {
			programs = append(programs, program)
		}
	}
	for _, program := range programs {
		if there, err := i.exists(program); err == nil && !there {
			continue
		}
		out, err := i.Run(ctx, program, "--version")
		i.problem(err, string(Versions), program)
		if err == nil {
			i.report.Versions[program] = strings.TrimSpace(out)
		}
	}
	return nil
}

// MainProgram is the path of the program that a role runs, or that it would run if
// it started now; empty if there is none.
func (r Role) MainProgram(role layout.Role) string {
	if r.Program != "" || r.Link == "" {
		return r.Program
	}
	own := layout.ProgramsOf(role)
	if len(own) == 0 {
		return ""
	}
	return layout.Program(r.Link, path.Base(own[0]))
}

// runtime reports whether containerd is responding.
func (i *inspection) runtime(ctx context.Context) error {
	_, err := i.ctr(ctx, "version")
	up := err == nil
	i.report.RuntimeUp = &up
	return nil
}
