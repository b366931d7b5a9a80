// Many goroutines that work on files at once, on threads and small stacks of Go's own, by system calls of its own.
//
// usage: goroutines [DIRECTORY [GOROUTINES]]     prints "goroutines N errors 0"
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
)

func work(directory string, number int) error {
	base := filepath.Join(directory, fmt.Sprintf("g%d", number))
	if err := os.MkdirAll(filepath.Join(base, "a", "b"), 0o755); err != nil {
		return err
	}
	for round := 0; round < 10; round++ {
		name := filepath.Join(base, "a", "b", strconv.Itoa(round))
		text := []byte(fmt.Sprintf("%d-%d", number, round))
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
		if err := os.Rename(name, name+".renamed"); err != nil {
			return err
		}
		read, err := os.ReadFile(name + ".renamed")
		if err != nil || string(read) != string(text) {
			return fmt.Errorf("%s holds %q, not %q (%v)", name, read, text, err)
		}
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			return fmt.Errorf("%s is still there (%v)", name, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(base, "a", "b"))
	if err != nil || len(entries) != 10 {
		return fmt.Errorf("%s has %d entries (%v)", base, len(entries), err)
	}
	return os.RemoveAll(base)
}

func main() {
	directory, goroutines := "/tmp", 200
	if len(os.Args) > 1 {
		directory = os.Args[1]
	}
	if len(os.Args) > 2 {
		goroutines, _ = strconv.Atoi(os.Args[2])
	}
	image, err := os.ReadFile("/etc/lpmx-image")
	fmt.Printf("image %q %v\n", image, err)
	var errors atomic.Int64
	var group sync.WaitGroup
	for number := 0; number < goroutines; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			if err := work(directory, number); err != nil {
				errors.Add(1)
				fmt.Fprintln(os.Stderr, err)
			}
		}(number)
	}
	group.Wait()
	fmt.Printf("goroutines %d errors %d\n", goroutines, errors.Load())
	if errors.Load() != 0 {
		os.Exit(1)
	}
}
