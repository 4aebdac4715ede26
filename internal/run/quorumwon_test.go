package run

import (
	"fmt"
	"testing"
)

// electorCall is one call of one of two processes on a machine: it lists, creates its claim, and
// lists again.
type electorCall struct{ process, call int }

// orders are all orders of the calls of two processes on one machine.
func orders() (all [][]electorCall) {
	var add func(order []electorCall, next [2]int)
	add = func(order []electorCall, next [2]int) {
		if len(order) == 6 {
			all = append(all, order)
			return
		}
		for p := range 2 {
			if next[p] < 3 {
				after := next
				after[p]++
				add(append(order[:len(order):len(order)], electorCall{p, next[p]}), after)
			}
		}
	}
	add(nil, [2]int{})
	return all
}

// onMachine runs calls on a machine that has a lock file with a number. It returns what each
// process saw before and after its claim. A file can be created once.
func onMachine(order []electorCall, first int, numbers [2]int) (before, after [2]look) {
	files, tokens := []int{first}, map[int]string{first: "before"}
	for _, e := range order {
		switch e.call {
		case 1:
			if n := numbers[e.process]; tokens[n] == "" {
				tokens[n] = fmt.Sprint(e.process)
				files = append(files, n)
			}
		default:
			l := look{numbers: append([]int(nil), files...)}
			for _, n := range files {
				if n > l.top.number {
					l.top = claim{n, Holder{Token: tokens[n], Released: tokens[n] == "before"}}
				}
			}
			if e.call == 0 {
				before[e.process] = l
			} else {
				after[e.process] = l
			}
		}
	}
	return before, after
}

// In every order of the calls of two processes on three machines, which can have a withdrawn
// claim with the number of one of them before, at most one wins. A process that finds a claim
// of the other waits instead.
func TestTwoClaimsNeverBothWin(t *testing.T) {
	t.Parallel()
	type seen struct{ before, after [2]look }
	machines := []string{"cp1", "cp2", "cp3"}
	both, one := 0, 0
	for _, numbers := range [][2]int{{2, 2}, {2, 3}} {
		var cases []seen // on one machine
		for _, first := range []int{1, 2} {
			for _, order := range orders() {
				before, after := onMachine(order, first, numbers)
				if before[0].top.Released && before[1].top.Released {
					cases = append(cases, seen{before, after})
				}
			}
		}
		for choice := range len(cases) * len(cases) * len(cases) {
			wins := 0
			for p := range 2 {
				before := survey{looks: map[string]look{}, known: true, view: view{Electors: machines}}
				after := survey{looks: map[string]look{}, known: true, view: view{Electors: machines}}
				for m, c := 0, choice; m < 3; m, c = m+1, c/len(cases) {
					before.looks[machines[m]], after.looks[machines[m]] = cases[c%len(cases)].before[p], cases[c%len(cases)].after[p]
				}
				if won(before, after, numbers[p], fmt.Sprint(p)) {
					wins++
				}
			}
			switch wins {
			case 1:
				one++
			case 2:
				both++
			}
		}
	}
	if both > 0 || one == 0 {
		t.Errorf("both win in %d cases, and one in %d", both, one)
	}
}
