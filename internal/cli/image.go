package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// machinesAtOnce is how many machines receive an image in parallel.
const machinesAtOnce = 4

func newImageCommand(env *Env) *cobra.Command {
	return group("image", "Load container images onto the machines without a registry", newImageLoadCommand(env), newImageListCommand(env))
}

func newImageLoadCommand(env *Env) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "load FILE|DIR",
		Short: "Load an image onto every machine",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the loaded image, such as team/train:v3 (default: its name in the file)")
	cluster := addClusterFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file, err := openImageFile(args[0], name)
		if err != nil {
			return err
		}
		return onMachines(cmd.Context(), cluster, func(id string, hosts []machine.Host) error {
			if name == "" && !env.isLocal(id) { // what --name says was said before
				err := env.confirm(fmt.Sprintf("This loads %s from %s onto %d machines, and replaces images of these names", ui.List(file.names), args[0], len(hosts)))
				if err != nil {
					return err
				}
			}
			if err := checkImageSpace(cmd.Context(), hosts, file); err != nil {
				return err
			}
			return loadImage(cmd.Context(), env, hosts, file)
		})
	}
	return cmd
}

// onMachines connects to the machines. An unreachable machine is an error, but only after
// the others were served. One that is off for its maintenance is left out.
func onMachines(ctx context.Context, cluster *clusterFlags, do func(id string, hosts []machine.Host) error) error {
	return cluster.withSession(ctx, func(s *session.Session) error {
		off, err := operation.OffForMaintenance(ctx, s)
		if err != nil {
			return err
		}
		var hosts []machine.Host
		var unreachable []string
		for _, m := range s.Config.Layout.MachineList {
			switch h := s.Hosts[m.Hostname]; {
			case h != nil:
				hosts = append(hosts, h)
			case off[m.Hostname]:
				s.Progressf("machine %s is in maintenance and unreachable; it is left out", m.Hostname)
			default:
				unreachable = append(unreachable, m.Hostname)
			}
		}
		err = do(s.Config.Services.Cluster.Common.ClusterID, hosts)
		if len(unreachable) > 0 {
			err = errors.Join(err, pai.Errorf(pai.CodeFailed, "start these machines and run the command again",
				"unreachable machines were skipped: %s", strings.Join(unreachable, ", ")))
		}
		return err
	})
}

// loadedImage is what `image load` prints.
type loadedImage struct {
	Names    []string `json:"names"`
	Machines []string `json:"machines"`
}

func loadImage(ctx context.Context, env *Env, hosts []machine.Host, file *imageFile) error {
	errs := make([]error, len(hosts))
	var sends errgroup.Group
	sends.SetLimit(machinesAtOnce)
	for i, h := range hosts {
		sends.Go(func() error {
			env.Progressf("loading %s onto %s", strings.Join(file.names, ", "), h.Name())
			errs[i] = sendImage(ctx, h, file)
			return nil
		})
	}
	_ = sends.Wait() // errs has the errors, by machine
	result := loadedImage{Names: file.names, Machines: []string{}}
	for i, h := range hosts {
		if errs[i] == nil {
			result.Machines = append(result.Machines, h.Name())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return pai.Errorf(pai.CodeFailed, "run the command again; machines that have the image keep it", "load the image: %w", err)
	}
	return env.Show(result, func(p *ui.Page) {
		p.Linef("Loaded %s onto %s", ui.List(result.Names), ui.List(result.Machines))
	})
}

func sendImage(ctx context.Context, h machine.Host, file *imageFile) error {
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(file.archive(w)) }()
	_, err := h.Run(ctx, machine.Command{Bulk: true, Stdin: r, Script: layout.ImportImages})
	return err
}

func newImageListCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the images on the machines",
		Args:  cobra.NoArgs,
	}
	cluster := addClusterFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return onMachines(cmd.Context(), cluster, func(_ string, hosts []machine.Host) error {
			images, err := listImages(cmd.Context(), hosts)
			if err != nil {
				return err
			}
			return env.Show(images, func(p *ui.Page) { writeImages(p, images, len(hosts)) })
		})
	}
	return cmd
}

// imageOnMachines is an image and the machines that have it.
type imageOnMachines struct {
	Name     string   `json:"name"`
	Digest   string   `json:"digest"`
	Pinned   bool     `json:"pinned"`
	Machines []string `json:"machines"`
}

func listImages(ctx context.Context, hosts []machine.Host) ([]imageOnMachines, error) {
	type identity struct{ name, digest string }
	found := map[identity]imageOnMachines{}
	for _, h := range hosts {
		out, err := h.Run(ctx, machine.Command{Script: layout.Ctr + " images list"})
		if err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		for _, image := range parseImageList(out.Stdout) {
			key := identity{image.Name, image.Digest}
			if have, ok := found[key]; ok {
				image.Machines, image.Pinned = have.Machines, image.Pinned && have.Pinned
			}
			image.Machines = append(image.Machines, h.Name())
			found[key] = image
		}
	}
	images := slices.Collect(maps.Values(found))
	slices.SortFunc(images, func(a, b imageOnMachines) int { return strings.Compare(a.Name+a.Digest, b.Name+b.Digest) })
	return images, nil
}

// parseImageList reads a table with the columns REF TYPE DIGEST SIZE PLATFORMS
// LABELS. It skips the internal names of containerd, which are digests.
func parseImageList(out string) []imageOnMachines {
	var images []imageOnMachines
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[2], "sha256:") || strings.HasPrefix(f[0], "sha256:") {
			continue
		}
		images = append(images, imageOnMachines{Name: f[0], Digest: f[2], Pinned: strings.Contains(line, layout.PinnedLabel), Machines: []string{}})
	}
	return images
}

func writeImages(p *ui.Page, images []imageOnMachines, machines int) {
	p.Row("IMAGE", "DIGEST", "MACHINES")
	for _, image := range images {
		where := "all"
		if len(image.Machines) < machines {
			where = strings.Join(image.Machines, ", ")
		}
		p.Row(image.Name, fmt.Sprintf("%.19s", image.Digest), where)
	}
}
