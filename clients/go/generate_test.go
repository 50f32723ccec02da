package packhorse

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestWhatIsGeneratedIsFresh(t *testing.T) {
	folder := t.TempDir()
	if out, err := exec.Command("go", "run", "./internal/generate", "-out", folder).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"messages.go", "messages_codec.go", "messages_names_test.go"} {
		made, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(name); err != nil || string(kept) != string(made) {
			t.Errorf("%s is not what go generate makes of protocol/schema.json (%v)", name, err)
		}
	}
}
