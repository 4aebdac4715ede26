package chaos

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// State is what a cluster's machines and its API hold, without what differs
// between any two clusters. Keys name a file, a unit or an object.
type State map[string]string

// put adds a text. Several may have one key, once what differs between clusters
// is masked in it, and then their order does not count.
func (s State) put(key, text string) {
	const between = "\n---\n"
	if was, there := s[key]; there {
		all := append(strings.Split(was, between), text)
		slices.Sort(all)
		text = strings.Join(all, between)
	}
	s[key] = text
}

// Diff lists what differs, each with the first line that does.
func (s State) Diff(other State) []string {
	var found []string
	keys := maps.Clone(s)
	maps.Copy(keys, other)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		was, there := s[k]
		is, here := other[k]
		switch {
		case !here:
			found = append(found, k+": missing")
		case !there:
			found = append(found, k+": too many")
		case was != is:
			found = append(found, k+": "+firstDifference(was, is))
		}
	}
	return found
}

// without leaves out entries by the ends of their keys.
func (s State) without(ends []string) State {
	left := maps.Clone(s)
	maps.DeleteFunc(left, func(key, _ string) bool {
		return slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(key, end) })
	})
	return left
}

// withoutReservations leaves out what the kubelet of a machine keeps from pods, and
// reports whether it keeps anything.
func (s State) withoutReservations(machine string) (without State, reserves bool) {
	without = maps.Clone(s)
	for key, text := range s {
		if !strings.HasPrefix(key, machine+" file ") || path.Base(key) != layout.KubeletConfigName {
			continue
		}
		var kept []string
		inside := false
		for _, line := range strings.Split(text, "\n") {
			if !strings.HasPrefix(line, " ") {
				inside = line == "kubeReserved:" || line == "systemReserved:"
			}
			if inside {
				reserves = true
			} else {
				kept = append(kept, line)
			}
		}
		without[key] = strings.Join(kept, "\n")
	}
	return without, reserves
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(x), len(y)) {
		var l, m string
		if i < len(x) {
			l = x[i]
		}
		if i < len(y) {
			m = y[i]
		}
		if l != m {
			return fmt.Sprintf("line %d was %q, is %q", i+1, strings.TrimSpace(l), strings.TrimSpace(m))
		}
	}
	return "differs"
}

// TakeState reads the state of the cluster and of its machines.
func (c *Cluster) TakeState(ctx context.Context, machines int) (State, error) {
	s := State{}
	for i := range machines {
		name := fmt.Sprintf("pai-%d", i+1)
		if err := c.takeFiles(ctx, s, name); err != nil {
			return nil, err
		}
		if err := c.takeUnits(ctx, s, name); err != nil {
			return nil, err
		}
	}
	return s, c.takeObjects(ctx, s)
}

// filesScript writes a tar of what PAI owns on a machine. Programs are known
// by size, other files by content. Left out is what is a record of the runs
// themselves (journal, revisions, lock, witness, logs, digests of files by inode),
// what pods and services own, which of two slots holds the flags that are not in use, and what a killed
// write left, which only root can read and a write there removes after an hour.
const filesScript = `
cd /
{
    find opt/pai etc/pai etc/kubernetes etc/cni etc/systemd/system var/lib/pai \
        \( -path var/lib/pai/operations -o -path var/lib/pai/revisions -o -path var/lib/pai/lock -o -path var/lib/pai/witness -o -path var/lib/pai/prometheus -o -path var/lib/pai/rest-server -o -path var/lib/pai/digests.json -o -path 'opt/pai/v*/run' \) -prune -o -print || :
    for l in opt/pai/role/*; do echo "$l/run/$(basename "$l")"; done
    find var/lib/kubelet -maxdepth 1 -type f || :
    find var/lib/kubelet/pki var/lib/etcd -maxdepth 2 || :
} 2>/dev/null | sort -u | while read -r f; do
    case $f in
    */.pai-tmp.*) [ "$(stat -c %a "$f")" != 600 ] || continue ;;
    *.log|*/swap-kubelet.sh|*_state|var/lib/kubelet/.*) continue ;;
    etc/systemd/system/*) case $f in */pai-*) ;; *) continue ;; esac ;;
    esac
    if [ -L "$f" ]; then echo "link $f $(readlink "$f")"
    elif [ -d "$f" ]; then echo "directory $f $(stat -c %a "$f")"
    elif [ "$(stat -L -c %s "$f")" -gt 1000000 ]; then
        case $f in var/lib/pai/snapshots/*|var/lib/etcd/*) echo "large $f" ;; *) echo "large $f $(stat -c '%a %s' "$f")" ;; esac
    else echo "file $f $(stat -L -c %a "$f")"
    fi
done > /run/chaos-list
sed -n 's/^file \([^ ]*\) .*/\1/p' /run/chaos-list > /run/chaos-files
tar -c -h -f - -T /run/chaos-files run/chaos-list 2>/dev/null || :
rm -f /run/chaos-list /run/chaos-files`

func (c *Cluster) takeFiles(ctx context.Context, s State, machine string) error {
	out, err := c.inside(ctx, machine, filesScript)
	if err != nil {
		return fmt.Errorf("read the files of %s: %w", machine, err)
	}
	slots, err := c.slots(ctx, machine)
	if err != nil {
		return err
	}
	archive := tar.NewReader(bytes.NewReader([]byte(out)))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the files of %s: %w", machine, err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", h.Name, machine, err)
		}
		if h.Name != "run/chaos-list" {
			text := slots.name(string(data))
			switch {
			case h.Name == "etc/pai/api-proxy.json": // lists both slots in a fixed order
				text = strings.NewReplacer("port-used", "port-of-a-slot", "port-idle", "port-of-a-slot").Replace(text)
			case path.Base(h.Name) == "kubeadm.yaml": // what the version was last used for
				text = strings.NewReplacer("etcd/used", "etcd/of-a-slot", "etcd/idle", "etcd/of-a-slot").Replace(text)
			case strings.HasPrefix(path.Base(h.Name), "etcd-"):
				text = slots.nameMembers(text)
			}
			if h.Name == "var/lib/pai/network/tasks.json" {
				if text, err = withoutTasks(text); err != nil {
					return fmt.Errorf("read %s of %s: %w", h.Name, machine, err)
				}
			}
			s.put(machine+" file /"+maskName(slots.name(h.Name)), maskText(text))
			continue
		}
		for line := range strings.Lines(string(data)) {
			line = slots.name(strings.TrimSpace(line))
			kind, rest, _ := strings.Cut(line, " ")
			path, about, _ := strings.Cut(rest, " ")
			s.put(machine+" "+kind+" of /"+maskName(path), maskName(about))
		}
	}
}

// withoutTasks leaves out of what the network program knows the tasks and their
// policies, which change with the jobs.
func withoutTasks(text string) (string, error) {
	var known map[string]any
	if err := json.Unmarshal([]byte(text), &known); err != nil {
		return "", err
	}
	delete(known, "policies")
	if of, ok := known["known"].(map[string]any); ok {
		delete(of, "peers")
	}
	data, err := json.Marshal(known)
	return string(data), err
}

// slotNames gives the two slots of etcd and of the API server names by what
// they do: which of them is in use depends on how often one took over.
type slotNames struct{ replace, members *strings.Replacer }

func (n slotNames) name(s string) string { return n.replace.Replace(s) }

// firstMembers is the line of an etcd with the members that it started with.
var firstMembers = regexp.MustCompile(`(?m)^(ETCD_INITIAL_CLUSTER=)(.+)$`)

// nameMembers is name for the ports and the members in a file of etcd. Other files have
// those of both slots in a fixed order. An etcd has itself as the last of the first
// members, and their order means nothing.
func (n slotNames) nameMembers(s string) string {
	return firstMembers.ReplaceAllStringFunc(n.members.Replace(s), func(line string) string {
		key, members, _ := strings.Cut(line, "=")
		sorted := strings.Split(members, ",")
		slices.Sort(sorted)
		return key + "=" + strings.Join(sorted, ",")
	})
}

func (c *Cluster) slots(ctx context.Context, machine string) (slotNames, error) {
	out, err := c.inside(ctx, machine, `for r in etcd apiserver; do for s in a b; do ! systemctl is-active -q pai-$r-$s.service || echo $r $s; done; done`)
	if err != nil {
		return slotNames{}, fmt.Errorf("see which slots are in use: %w", err)
	}
	return slotsInUse(out, machine), nil
}

// slotsInUse reads lines of a role and the slot that is in use on a machine.
func slotsInUse(lines, machine string) slotNames {
	var pairs, members []string
	what := map[string]string{"etcd": "etcd", "apiserver": "API server"} // in the description of a unit
	ports := map[string][2]string{"apiserver": {"6444", "6445"}}
	for line := range strings.Lines(lines) {
		role, used, _ := strings.Cut(strings.TrimSpace(line), " ")
		idle, used1, idle1 := "b", ports[role][0], ports[role][1]
		if used == "b" {
			idle, used1, idle1 = "a", idle1, used1
		}
		pairs = append(pairs, role+"-"+used, role+"-used", role+"-"+idle, role+"-idle",
			"lib/"+role+"/"+used, "lib/"+role+"/used", "lib/"+role+"/"+idle, "lib/"+role+"/idle",
			what[role]+", slot "+used, what[role]+", slot used", what[role]+", slot "+idle, what[role]+", slot idle")
		if role == "etcd" {
			for _, slot := range layout.Slots() {
				name := "idle"
				if slot.Name == used {
					name = "used"
				}
				for what, port := range map[string]int{"client": slot.EtcdClientPort, "peer": slot.EtcdPeerPort, "metrics": slot.EtcdMetricsPort} {
					members = append(members, fmt.Sprintf(":%d", port), ":"+what+"-port-"+name)
				}
				for _, end := range []string{"=", " ", "\n"} {
					members = append(members, slot.Member(machine)+end, machine+"-"+name+end)
				}
			}
		}
		if role == "apiserver" {
			pairs = append(pairs, used1, "port-used", idle1, "port-idle",
				"audit-"+used+".log", "audit-used.log", "audit-"+idle+".log", "audit-idle.log")
		}
	}
	return slotNames{strings.NewReplacer(pairs...), strings.NewReplacer(members...)}
}

const unitsScript = `
for u in /etc/systemd/system/pai-*; do
    n=$(basename "$u")
    pid=$(systemctl show -p MainPID --value "$n")
    exe=
    [ "$pid" = 0 ] || exe=$(readlink "/proc/$pid/exe" || :)
    echo "$n $(systemctl is-enabled "$n" 2>/dev/null || :) $(systemctl is-active "$n" || :) $exe"
done
systemctl list-units --plain --no-legend --all 'pai-*' | awk '$3 != "inactive" { print "unit", $1, $2, $3 }' # systemd drops inactive ones
nft list tables
ls -d /tmp/* /opt/* /run/pai* 2>/dev/null || :`

func (c *Cluster) takeUnits(ctx context.Context, s State, machine string) error {
	out, err := c.inside(ctx, machine, unitsScript)
	if err != nil {
		return fmt.Errorf("read the units of %s: %w", machine, err)
	}
	slots, err := c.slots(ctx, machine)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(slots.name(line)); !isOfSystemd(line) {
			s[machine+" unit "+line] = ""
		}
	}
	return nil
}

// isOfSystemd reports whether a line of unitsScript is a directory that systemd makes: for
// the private files of a unit, and to prepare its private devices. systemd leaves the second
// one if the unit is stopped meanwhile.
func isOfSystemd(line string) bool {
	return strings.HasPrefix(line, "/tmp/systemd-private") || strings.HasPrefix(line, "/tmp/namespace-dev-")
}

// fleeting are kinds that come and go by themselves, or show others' state.
const fleeting = "events pods endpoints endpointslices leases controllerrevisions replicasets certificatesigningrequests " +
	"componentstatuses bindings ipaddresses"

// ofUsers reports whether an object is a job's or another one that users have
// made: in a virtual cluster's namespace only these kinds are PAI's. Jobs are
// examined by themselves.
func ofUsers(o map[string]any) bool {
	meta, _ := o["metadata"].(map[string]any)
	namespace, _ := meta["namespace"].(string)
	kind, _ := o["kind"].(string)
	return strings.HasPrefix(namespace, pai.VirtualClusterNamespacePrefix) &&
		!slices.Contains([]string{"LocalQueue", "Role", "RoleBinding", "ServiceAccount", "NetworkPolicy", "ResourceQuota", "LimitRange"}, kind)
}

func (c *Cluster) takeObjects(ctx context.Context, s State) error {
	out, err := c.kubectl(ctx, "api-resources --verbs=list -o name")
	if err != nil {
		return err
	}
	var kinds []string
	for kind := range strings.FieldsSeq(out) {
		short, _, _ := strings.Cut(kind, ".")
		if !slices.Contains(strings.Fields(fleeting), short) && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	out, getErr := c.kubectl(ctx, "get "+strings.Join(kinds, ",")+" -A -o json")
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return fmt.Errorf("read the cluster's objects: %w", errors.Join(getErr, err))
	}
	if len(list.Items) < 50 {
		return fmt.Errorf("the API lists only %d objects", len(list.Items))
	}
	for _, o := range list.Items {
		text, err := maskObject(o)
		if err != nil {
			return err
		}
		meta, _ := o["metadata"].(map[string]any)
		if name, _ := meta["name"].(string); strings.HasPrefix(name, "bootstrap-token-") || strings.HasPrefix(name, "configuration-0") || strings.HasPrefix(name, "report-2") || ofUsers(o) {
			continue // the token lives for a minute; a revision and a report say when they were made
		}
		name := fmt.Sprintf("object %v %v %v/%v", o["apiVersion"], o["kind"], meta["namespace"], meta["name"])
		s.put(maskName(name), text)
	}
	return nil
}
