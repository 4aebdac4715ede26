package job

import (
	"fmt"
	"regexp"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
)

var (
	anyUser = rapid.StringMatching(`[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?`)
	anyName = rapid.StringMatching(`[a-zA-Z0-9_-]{1,255}`)
	anyRole = rapid.StringMatching(`[a-zA-Z_][a-zA-Z0-9_]{0,80}`)
)

func TestNamesAreValidInKubernetes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		user, name, role := anyUser.Draw(t, "user"), anyName.Draw(t, "name"), anyRole.Draw(t, "role")
		object := ObjectName(user, name)
		if object != ObjectName(user, name) {
			t.Fatal("not the same twice")
		}
		// What JobSet (placement.GenPodName) makes of it for the last instance.
		pod := fmt.Sprintf("%s-%s-0-%d-abcde", object, roleObject(role), MaxInstances-1)
		for _, s := range []string{object, pod} {
			if problems := validation.IsDNS1035Label(s); len(problems) > 0 {
				t.Fatalf("%s: %v", s, problems)
			}
		}
		for _, s := range []string{object, roleLabel(role), user} {
			if problems := validation.IsValidLabelValue(s); len(problems) > 0 {
				t.Fatalf("label %s: %v", s, problems)
			}
		}
	})
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	near := []string{"a", "A", "_a", "a_", "a-", "-a", "a_a", "a-a", "a__a", "aa", "1a", "_1a", "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyz_"}
	seen := map[string]string{}
	for _, user := range []string{"a", "A", "aa", "0a", "u0a", "alexander", "alexander2"} {
		for _, name := range near {
			object, who := ObjectName(user, name), user+"~"+name
			if other, twice := seen[object]; twice {
				t.Errorf("%s and %s are both %s", who, other, object)
			}
			seen[object] = who
		}
	}
	roles := map[string]string{}
	valid := regexp.MustCompile(roleNamePattern.String())
	for _, role := range near {
		if !valid.MatchString(role) {
			continue
		}
		if other, twice := roles[roleObject(role)]; twice {
			t.Errorf("task roles %s and %s are both %s", role, other, roleObject(role))
		}
		roles[roleObject(role)] = role
	}
}

// A later release must find the objects of a job: the names never change.
func TestNamesNeverChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{ObjectName("admin", "train"), "admin-train-scx24lgsx6"},
		{ObjectName("7of9", "Train_ResNet-50"), "u7of9-train-resnet-svq2uzjfwu"},
		{ObjectName("alexander.the.great", "-"), "alexande-bnqbqeq3ps"},
		{roleObject("worker"), "worker"},
		{roleObject("Worker_1"), "worker-1-m4ajzp"},
		{roleObject("_"), "role-2lrk35"},
		{roleLabel("Worker_1"), "Worker_1"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
