package sim

import "testing"

// Test runs one simulation as a test: it fails when a promise was broken, and says
// how to repeat it.
func Test(t *testing.T, cfg Config, body func(w *World)) *Result {
	t.Helper()
	r := Run(cfg, body)
	if r.OK() {
		return r
	}
	t.Errorf("%s\nrepeat with: go test -run '^%s$' %s", r, t.Name(), r.Repeat)
	for _, line := range r.Log[max(0, len(r.Log)-60):] {
		t.Log(line)
	}
	if cfg.Dir != "" {
		path, err := r.Write(cfg.Dir)
		if err != nil {
			t.Errorf("write the report: %v", err)
		} else {
			t.Logf("report in %s", path)
		}
	}
	return r
}
