package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
)

const (
	hidden       = 16
	batch        = 32
	learningRate = 0.2
)

// model is a neural network with two inputs, one layer of tanh, and one output: the probability of
// class 1.
type model struct {
	W [hidden][2]float64 `json:"w"`
	B [hidden]float64    `json:"b"`
	V [hidden]float64    `json:"v"`
	C float64            `json:"c"`
}

// state is what a checkpoint has.
type state struct {
	Step  int   `json:"step"`
	Model model `json:"model"`
}

func newState() state {
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same beginning each time
	var s state
	for i := range hidden {
		s.Model.W[i] = [2]float64{r.NormFloat64(), r.NormFloat64()}
		s.Model.V[i] = r.NormFloat64() / 4
	}
	return s
}

func (m *model) forward(p row) (layer [hidden]float64, probability float64) {
	sum := m.C
	for i := range hidden {
		layer[i] = math.Tanh(m.W[i][0]*p.x + m.W[i][1]*p.y + m.B[i])
		sum += m.V[i] * layer[i]
	}
	return layer, 1 / (1 + math.Exp(-sum))
}

// learn is one step of gradient descent. Its rows depend on the number of the step alone, so
// that a run which continues takes the same ones.
func (s *state) learn(rows []row) {
	r := rand.New(rand.NewPCG(5, uint64(s.Step))) //nolint:gosec // as above
	var g model
	for range batch {
		p := rows[r.IntN(len(rows))]
		layer, probability := s.Model.forward(p)
		d := (probability - p.class) / batch
		g.C += d
		for i := range hidden {
			g.V[i] += d * layer[i]
			back := d * s.Model.V[i] * (1 - layer[i]*layer[i])
			g.B[i] += back
			g.W[i][0] += back * p.x
			g.W[i][1] += back * p.y
		}
	}
	m := &s.Model
	m.C -= learningRate * g.C
	for i := range hidden {
		m.V[i] -= learningRate * g.V[i]
		m.B[i] -= learningRate * g.B[i]
		m.W[i][0] -= learningRate * g.W[i][0]
		m.W[i][1] -= learningRate * g.W[i][1]
	}
	s.Step++
}

// quality is the mean loss (cross entropy) over all rows, and the share of rows whose class is
// found.
func (m *model) quality(rows []row) (loss, accuracy float64) {
	for _, p := range rows {
		_, probability := m.forward(p)
		if (probability > 0.5) == (p.class == 1) {
			accuracy++
		}
		if p.class == 0 {
			probability = 1 - probability
		}
		loss -= math.Log(max(probability, 1e-12))
	}
	return loss / float64(len(rows)), accuracy / float64(len(rows))
}

// maxCheckpoint bounds a checkpoint, in bytes.
const maxCheckpoint = 1 << 20

// load reads a checkpoint; without one, the training begins.
func load(file string) (state, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newState(), nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxCheckpoint) {
		err = fmt.Errorf("it must be a file of at most %d bytes", maxCheckpoint)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	var s state
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err == nil && s.Step < 0 {
		err = fmt.Errorf("step %d", s.Step)
	}
	if err != nil {
		return s, fmt.Errorf("read the checkpoint %s: %w", file, err)
	}
	return s, nil
}

func (s *state) save(file string) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = replace(file, data)
	}
	if err != nil {
		return fmt.Errorf("write the checkpoint %s: %w", file, err)
	}
	return nil
}
