// The SDKs of Go as an app uses them. The argument says which one; what stdin says is sent, message by message.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type script struct {
	Host, Key string
	Messages  []message
}

type message struct {
	Do, Event, Name, User, Anonymous, Group, Old string
	At                                           time.Time
	Properties, Traits                           map[string]any
}

// who is the id of an SDK that knows one id alone.
func (one message) who() string {
	if one.User != "" {
		return one.User
	}
	return one.Anonymous
}

// arrivals is told of each message of an SDK when it has arrived, or when the SDK has given it up.
type arrivals[M any] chan error

func (arrived arrivals[M]) Success(M)            { arrived <- nil }
func (arrived arrivals[M]) Failure(_ M, e error) { arrived <- e }

// queue is a client of an SDK that tells of arrivals.
type queue[M any] interface {
	Enqueue(M) error
	Close() error
}

// oneByOne sends each message when the one before has arrived. The SDKs send each request beside the others: one that is
// sent again would come after what was said later.
func oneByOne[M any](told script, client queue[M], arrived <-chan error, its func(message) (M, error)) error {
	for _, one := range told.Messages {
		converted, err := its(one)
		if err != nil {
			return err
		}
		if err := client.Enqueue(converted); err != nil {
			return err
		}
		if err := <-arrived; err != nil {
			return err
		}
	}
	return client.Close()
}

var drivers = map[string]func(script) error{
	"amplitude_go": amplitudeGo,
	"mixpanel_go":  mixpanelGo,
	"posthog_go":   posthogGo,
	"rudder_go":    rudderGo,
	"segment_go":   segmentGo,
}

func main() {
	var told script
	err := json.NewDecoder(os.Stdin).Decode(&told)
	if err == nil {
		err = drivers[os.Args[1]](told)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}
