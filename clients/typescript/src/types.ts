/** What is sent and answered, by the names of the service's OpenAPI document. */

import type { components } from "./schema.js";

type Schemas = components["schemas"];

export type RecommendRequest = Schemas["RecommendRequest"];
export type RecommendResponse = Schemas["RecommendResponse"];
export type RecommendedItem = Schemas["RecommendedItem"];
export type Explanation = Schemas["Explanation"];
export type RatingsRequest = Schemas["RatingsRequest"];
export type RatingsResponse = Schemas["RatingsResponse"];
export type BatchResponse = Schemas["BatchResponse"];
export type Event = Schemas["Event"];
export type EventsResponse = Schemas["EventsResponse"];
export type Filter = Schemas["Filter"];
export type SimilarResponse = Schemas["SimilarResponse"];
export type ItemChange = Schemas["ItemChange"];
export type ItemsChanged = Schemas["ItemsChanged"];
export type PersonForgotten = Schemas["PersonForgotten"];
export type Live = Schemas["Live"];
export type Ready = Schemas["Ready"];
export type ProblemDocument = Schemas["ProblemDocument"];
export type WrongField = Schemas["WrongField"];
