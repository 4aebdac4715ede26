package nspawn

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// The subnet is free, private, and outside of the default ranges of Kubernetes.
func TestChooseSubnetIsFree(t *testing.T) {
	t.Parallel()
	taken := []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("10.244.0.0/16")}
	pool := netip.MustParsePrefix("10.224.0.0/13")
	rapid.Check(t, func(t *rapid.T) {
		used := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
			a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(220, 232).Draw(t, "b")), rapid.Byte().Draw(t, "c"), rapid.Byte().Draw(t, "d")})
			return netip.PrefixFrom(a, rapid.IntRange(15, 32).Draw(t, "bits")).Masked()
		}), 0, 40).Draw(t, "used")
		mark := rapid.StringMatching("pai-[0-9a-f]{6}").Draw(t, "mark")
		got, err := chooseSubnet(mark, used)
		if err != nil {
			for i := range 8 * 256 {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 224 + byte(i/256), byte(i), 0}), 24)
				if !slices.ContainsFunc(used, p.Overlaps) {
					t.Fatalf("got %v, want %s, which is free", err, p)
				}
			}
			return
		}
		if slices.ContainsFunc(used, got.Overlaps) || slices.ContainsFunc(taken, got.Overlaps) || !pool.Overlaps(got) || got.Bits() != 24 {
			t.Fatalf("got %s, want a free /24 of the pool", got)
		}
		if again, _ := chooseSubnet(mark, used); again != got {
			t.Fatalf("got %s, want %s again", again, got)
		}
		if other, err := chooseSubnet(mark, append(used, got)); err == nil && other.Overlaps(got) {
			t.Fatalf("got %s twice, want another subnet while it is in use", got)
		}
	})
}

func TestAddressesDiffer(t *testing.T) {
	t.Parallel()
	n := network{Subnet: netip.MustParsePrefix("10.224.1.0/24")}
	seen := map[netip.Addr]bool{n.number(hostNumber): true, n.number(bridgeNumber): true, n.number(0): true, n.number(255): true}
	for i := 1; i <= MaxLocal; i++ {
		a := n.address(i)
		if seen[a] || !n.Subnet.Contains(a) {
			t.Fatalf("got address %[2]s for machine %[1]d, want a unique one in the subnet", i, a)
		}
		seen[a] = true
	}
}

func TestReplaceBlockKeepsOtherLines(t *testing.T) {
	t.Parallel()
	block := func(content string) string { return hostsBegin + "\n" + content + hostsEnd + "\n" }
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.StringMatching(`[0-9a-z. ]{0,12}\n`), 0, 5)
		before, after := strings.Join(lines.Draw(t, "before"), ""), strings.Join(lines.Draw(t, "after"), "")
		one, two := block(strings.Join(lines.Draw(t, "one"), "")), block(strings.Join(lines.Draw(t, "two"), ""))
		if got := replaceBlock(before+one+after, two); got != before+two+after {
			t.Fatalf("got %q, want %q", got, before+two+after)
		}
		if got := replaceBlock(before, one); got != one+before {
			t.Fatalf("got %q without a block, want %q", got, one+before)
		}
	})
}

func TestEnsureKeyPairKeepsKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys", "ssh_ed25519")
	first, err := ensureKeyPair(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := ensureKeyPair(path)
	if err != nil || string(ssh.MarshalAuthorizedKey(first)) != string(ssh.MarshalAuthorizedKey(second)) {
		t.Errorf("got another key (%v), want the first one", err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, path + ".pub": 0o644, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: got mode %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil || string(public) != string(ssh.MarshalAuthorizedKey(first)) {
		t.Errorf("got public half %q (%v), want that of the key", public, err)
	}
}

func TestMarkIsUniquePerStateDir(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(a, link); err != nil {
		t.Fatal(err)
	}
	mark := func(dir string) string {
		m, err := Local{StateDir: dir}.Mark()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if mark(a) == mark(b) {
		t.Error("got one mark for two directories, want two")
	}
	if mark(a) != mark(link) || mark(a) != mark(a+"/.") {
		t.Error("got two marks for one directory, want one")
	}
	// The name of a link has at most 15 characters (IFNAMSIZ in linux/if.h).
	if name := (container{site: site{mark: mark(a)}, index: MaxLocal}).mark(); len(mark(a)) > 15 {
		t.Errorf("got %s, which is too long for a link", name)
	}
}

func TestMissingMachineIsNotFound(t *testing.T) {
	t.Parallel()
	l := Local{StateDir: t.TempDir()}
	if list, err := l.List(); err != nil || len(list) != 0 {
		t.Errorf("got list %v (%v), want none", list, err)
	}
	for _, err := range []error{l.Restart(t.Context(), "pai-1"), l.Kill(t.Context(), "pai-1")} {
		if pai.CodeOf(err) != pai.CodeNotFound {
			t.Errorf("got %v, want %s", err, pai.CodeNotFound)
		}
	}
	if _, err := l.Up(t.Context(), MaxLocal+1); pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("got %v for too many machines, want a usage error", err)
	}
	if left, err := os.ReadDir(l.StateDir); err != nil || len(left) != 0 {
		t.Errorf("got %v in the state directory (%v), want nothing", left, err)
	}
}
