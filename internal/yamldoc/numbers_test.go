package yamldoc

import (
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func numberNode(t interface{ Fatal(...any) }, text string) *yaml.Node {
	root, problems := Parse([]byte("x: "+text+"\n"), Limits{Bytes: 1 << 10, Depth: 4, ScalarBytes: 1 << 10, Values: 10})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return root.Content[1]
}

func TestNumbersThatProgramsReadDifferentlyAreRefused(t *testing.T) {
	t.Parallel()
	const both, either, whole = "both", "number", "neither"
	for text, want := range map[string]string{
		"22": both, "0": both, "-7": both, "+7": both,
		"1.5": either, ".5": either, "0.5": either, "1e3": either, "1.": either,
		"0022": whole, "010": whole, "0090": whole, "-010": whole, "00": whole, "0x16": whole, "0o17": whole, "0b11": whole,
		"1_000": whole, "010.5": whole, "1_0.5": whole, ".inf": whole, ".nan": whole, "\"22\"": whole, "ten": whole,
		"99999999999999999999": either, "[1]": whole, "true": whole, "!!int \"010\"": whole,
	} {
		n := numberNode(t, text)
		_, noInteger := Integer(n)
		_, noNumber := Number(n)
		got := whole
		switch {
		case noInteger == "" && noNumber == "":
			got = both
		case noNumber == "":
			got = either
		}
		if got != want {
			t.Errorf("%s: got %s, want %s (%q, %q)", text, got, want, noInteger, noNumber)
		}
	}
	for _, text := range []string{"0022", "0090", "1_000"} {
		if _, wrong := Integer(numberNode(t, text)); !strings.Contains(wrong, text+", which programs read as different numbers") {
			t.Errorf("%s: %s", text, wrong)
		}
	}
}

// Every whole number as programs print it is read as that number.
func TestIntegersAreReadAsTheyArePrinted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64().Draw(t, "number")
		text := strconv.FormatInt(want, 10)
		if got, wrong := Integer(numberNode(t, text)); got != want || wrong != "" {
			t.Fatalf("%s: got %d, %s", text, got, wrong)
		}
	})
}
