package packhorse

import (
	"bufio"
	"runtime"
	"time"
)

// write sends requests as they come, and a beat where there are none; it returns when done is
// closed or the connection is lost.
func (s *session) write(l *link, heartbeat time.Duration, done <-chan struct{}) {
	beat, err := encodeMessage("beat", &clientBeatMessage{})
	if err != nil {
		return
	}
	w := bufio.NewWriterSize(l, 1<<16)
	idle := time.NewTimer(heartbeat)
	defer idle.Stop()
	for {
		frame := s.requests.next()
		if frame == nil {
			if w.Buffered() > 0 {
				if w.Flush() != nil {
					return
				}
				idle.Reset(heartbeat)
			}
			select {
			case <-s.requests.wake:
				// Lets those who are about to ask do so: then they share a frame.
				runtime.Gosched()
				continue
			case <-idle.C:
				frame = beat
				idle.Reset(heartbeat)
			case <-done:
				return
			}
		}
		if l.SetWriteDeadline(time.Now().Add(l.timeout)) != nil {
			return
		}
		if _, err := w.Write(frame); err != nil {
			return
		}
	}
}
