// SPDX-License-Identifier: Apache-2.0
// The part of the WebNN API used here; TypeScript's libraries do not have it.
// https://www.w3.org/TR/webnn/

interface MLTensor {
  destroy(): void;
}

interface MLGraph {
  destroy(): void;
}

type MLOperand = object;

interface MLOperandDescriptor {
  dataType: "float32";
  shape: number[];
}

interface MLTensorDescriptor extends MLOperandDescriptor {
  readable?: boolean;
  writable?: boolean;
}

interface MLContext {
  createTensor(descriptor: MLTensorDescriptor): Promise<MLTensor>;
  writeTensor(tensor: MLTensor, data: ArrayBufferView): void;
  readTensor(tensor: MLTensor): Promise<ArrayBuffer>;
  dispatch(graph: MLGraph, inputs: Record<string, MLTensor>, outputs: Record<string, MLTensor>): void;
  destroy(): void;
}

declare class MLGraphBuilder {
  constructor(context: MLContext);
  input(name: string, descriptor: MLOperandDescriptor): MLOperand;
  matmul(a: MLOperand, b: MLOperand): MLOperand;
  tanh(input: MLOperand): MLOperand;
  softmax(input: MLOperand, axis: number): MLOperand;
  build(outputs: Record<string, MLOperand>): Promise<MLGraph>;
}

interface ML {
  createContext(options: { deviceType: string; powerPreference?: string }): Promise<MLContext>;
}
