import type { ComponentChildren } from "preact";

export interface Chip<T> {
  value: T;
  label: ComponentChildren;
  class?: string;
  testid?: string;
}

/** One choice of a few, as a group of buttons. */
export function Chips<T>(props: { title: string; chips: readonly Chip<T>[]; value: T; choose: (value: T) => void }) {
  return (
    <div class="chips" role="group" aria-label={props.title}>
      {props.chips.map((chip) => (
        <button
          key={String(chip.value)}
          class={`chip ${chip.class ?? ""}`}
          data-testid={chip.testid}
          aria-pressed={chip.value === props.value}
          onClick={() => props.choose(chip.value)}
        >
          {chip.label}
        </button>
      ))}
    </div>
  );
}
