/** One choice of many; an empty value is "any". */
export function Select(props: {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  choose: (value: string) => void;
  testid?: string;
  seen?: boolean;
}) {
  return (
    <label class="field">
      <span class={props.seen === true ? "" : "unseen"}>{props.label}</span>
      <select
        data-testid={props.testid}
        title={props.label}
        value={props.value}
        onChange={(event) => props.choose(event.currentTarget.value)}
      >
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
