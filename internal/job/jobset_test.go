package job

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/golden"
)

// A change here changes the objects of new jobs. Check its effect on jobs that an
// older release started.
func TestJobSetGolden(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/train.yaml")
	if err != nil {
		t.Fatal(err)
	}
	job, _, err := Parse(text, ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := job.Objects("alice", []byte("the text as it was written\n"), "alice-texts")
	if err != nil {
		t.Fatal(err)
	}
	data := objects.Texts.Object["data"].(map[string]any)
	shared, ok := strings.CutPrefix(data[keyEnvironment].(string), rendezvous)
	if !ok {
		t.Error("the environment does not begin with what all jobs share")
	}
	data[keyEnvironment] = shared
	var all []string
	for _, o := range []*unstructured.Unstructured{objects.Texts, objects.JobSet} {
		got, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(got))
	}
	golden.Check(t, "testdata/train.golden.yaml", strings.Join(all, "---\n"))
}

// PAI v0.10 rendered the files in testdata/published. Running jobs consist of
// such objects, so these files never change. The JobSet of the same job today has its
// names, labels, and policies: whatever reads one reads the other.
func TestPublishedJobSetIsRead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"train", "minimal"} {
		text, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		job, _, err := Parse(text, ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		objects, err := job.Objects("alice", text, "alice-texts")
		if err != nil {
			t.Fatal(err)
		}
		withoutContainment(t, objects.JobSet)
		data, err := os.ReadFile("testdata/published/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		published := &unstructured.Unstructured{}
		if err := published.UnmarshalJSON(data); err != nil {
			t.Fatal(err)
		}
		if got := published.GetAnnotations()[AnnotationProtocol]; got != string(text) {
			t.Errorf("%s: got the protocol %q", name, got)
		}
		before, err := ReadStatus(published, nil)
		if err != nil {
			t.Fatal(err)
		}
		now, err := ReadStatus(objects.JobSet, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(before, now) || before.Tasks() == 0 || before.Name == "" {
			t.Errorf("%s: v0.10 %+v, now %+v", name, before, now)
		}
		if got, want := withoutTexts(t, objects.JobSet), withoutTexts(t, published); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// withoutTexts is a JobSet without what moved to the ConfigMap of the job.
func withoutTexts(t *testing.T, obj *unstructured.Unstructured) string {
	t.Helper()
	var js jobset.JobSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &js); err != nil {
		t.Fatal(err)
	}
	delete(js.Annotations, AnnotationProtocol)
	delete(js.Annotations, AnnotationTexts)
	isScript := func(name string) bool { return name == "script" }
	for i := range js.Spec.ReplicatedJobs {
		pod := &js.Spec.ReplicatedJobs[i].Template.Spec.Template.Spec
		pod.Volumes = slices.DeleteFunc(pod.Volumes, func(v corev1.Volume) bool { return isScript(v.Name) })
		c := &pod.Containers[0]
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return isScript(m.Name) })
		c.Command = c.Command[:2] // the launcher and the script follow
		c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool {
			return slices.Contains([]string{"PAI_CONTAINER_HOST_IP", "PAI_TASK_FAILURES", "PAI_TASK_DISRUPTIONS"}, v.Name)
		})
		if len(pod.Volumes) == 0 {
			pod.Volumes, c.VolumeMounts = nil, nil
		}
	}
	data, err := json.MarshalIndent(js, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
