// github.com/segmentio/analytics-go.
package main

import (
	"fmt"

	"github.com/segmentio/analytics-go/v3"
)

func segmentMessage(one message) (analytics.Message, error) {
	switch one.Do {
	case "track":
		return analytics.Track{UserId: one.User, AnonymousId: one.Anonymous, Event: one.Event,
			Properties: one.Properties, Timestamp: one.At}, nil
	case "page":
		return analytics.Page{UserId: one.User, AnonymousId: one.Anonymous, Name: one.Name,
			Properties: one.Properties, Timestamp: one.At}, nil
	case "identify":
		return analytics.Identify{UserId: one.User, AnonymousId: one.Anonymous, Traits: one.Traits,
			Timestamp: one.At}, nil
	case "alias":
		return analytics.Alias{UserId: one.User, PreviousId: one.Old, Timestamp: one.At}, nil
	case "group":
		return analytics.Group{UserId: one.User, GroupId: one.Group, Traits: one.Traits, Timestamp: one.At}, nil
	}
	return nil, fmt.Errorf("it knows no %s", one.Do)
}

func segmentGo(told script) error {
	arrived := make(arrivals[analytics.Message], 1)
	config := analytics.Config{Endpoint: told.Host, BatchSize: 1, Callback: arrived}
	client, err := analytics.NewWithConfig(told.Key, config)
	if err != nil {
		return err
	}
	return oneByOne(told, client, arrived, segmentMessage)
}
